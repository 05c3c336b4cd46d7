"""The class that describes a protocol, and the protocols of published codes."""
