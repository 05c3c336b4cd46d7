"""What is to be done: grids, their methods and data resolved, the plan of a run, its cost."""
