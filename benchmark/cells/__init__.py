"""Running one cell: its process, its phases, what it keeps."""
