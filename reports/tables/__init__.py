"""Contents of tables: results, means over seeds, names, comparisons, costs, plain text."""
