"""The benchmark: grids, cells, run directories, engines and provenance. The metric engine is in ``metrics``."""
