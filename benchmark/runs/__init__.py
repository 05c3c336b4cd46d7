"""Run a grid: the runner, its progress display, and the status of a run."""
