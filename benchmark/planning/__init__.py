"""Plan a run: grids, resolved methods and datasets, the cells to run, and their predicted cost."""
