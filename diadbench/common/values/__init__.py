"""Users' values: YAML and arguments, checked against type hints."""
