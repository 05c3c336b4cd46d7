"""Files of runs and cells on disk, the identity of results, and which cells belong to one experiment."""
