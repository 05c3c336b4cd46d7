"""Values as people write them: YAML, arguments, checked against type hints."""
