"""YAML only: grids, methods, datasets. Packaged, so that names work anywhere."""
