"""How files lie on disk: folders, lists, detection of a layout, roots."""
