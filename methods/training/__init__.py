"""The base of methods that are trained by gradient."""
