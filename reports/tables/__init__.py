"""What a table is: results, means over seeds, names, comparisons, costs, plain text."""
