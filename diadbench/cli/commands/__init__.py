"""The commands, one module each, which parse arguments and call the functions that do the work."""
