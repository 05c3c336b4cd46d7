"""Running one cell: its process, its phases, what it keeps."""

#: File in a cell's directory that says whose scratch, predictions and half-made model lie there: the cell's identity.
OWNER = "scratch/identity"
