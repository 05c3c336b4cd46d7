"""The base of what learns by gradient."""
