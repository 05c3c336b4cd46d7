"""Methods of one file each: trivial baselines and PaDiM."""
