"""Methods in one file: trivial baselines and PaDiM."""
