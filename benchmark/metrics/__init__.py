"""The metric engine: exact, streaming, with protocols. Leans on no other room."""
