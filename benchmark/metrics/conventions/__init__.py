"""What a protocol is, and the protocols of published codes."""
