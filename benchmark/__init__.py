"""The benchmark: grids, cells, the store, engines, provenance; the metric engine is in ``metrics``."""
