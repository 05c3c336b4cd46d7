"""Published figures: rows with their sources, and what arithmetic says of them."""
