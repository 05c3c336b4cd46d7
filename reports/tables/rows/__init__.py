"""From the rows of `results.csv` to rows with printed names and means over seeds."""
