"""Results that travel: packed, merged with those of others, verified."""
