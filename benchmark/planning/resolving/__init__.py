"""What a grid names, resolved: methods with all their options, datasets with their samples, and what is not here."""
