"""What every room may use and what uses no room: errors, names and plug-ins, safe writes, paths."""
