"""What lies on disk of runs and cells, what decides a result, which cells are one experiment."""
