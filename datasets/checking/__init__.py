"""Check, describe and prepare a dataset for a user."""
