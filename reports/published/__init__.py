"""Published figures: rows with their sources, and the contradictions that arithmetic finds in them."""
