"""Arrays that are computed once and read by everyone, and what lies in the cache directory."""
