"""The commands, a module each: parse what is typed, call what does the work."""
