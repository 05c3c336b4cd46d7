"""Values as text: YAML and arguments, checked against type hints; CSV files of many rows."""
