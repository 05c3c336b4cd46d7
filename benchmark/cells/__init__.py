"""Running one cell: its process, its phases, what it keeps."""

#: File in a cell's directory with the identity that its scratch, predictions and half-trained model belong to.
OWNER = "scratch/identity"
