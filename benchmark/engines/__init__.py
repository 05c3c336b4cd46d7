"""Engines run cells: processes here, Ray, SLURM. They know nothing of what a cell does."""
