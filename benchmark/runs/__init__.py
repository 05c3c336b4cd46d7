"""Running a grid: the runner, its watch, the status of a run."""
