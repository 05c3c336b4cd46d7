"""Arrays that are computed once and shared by all processes, and the inventory of the cache directory."""
