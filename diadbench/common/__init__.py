"""Helpers without dependencies on other packages of the project: errors, names and plug-ins, safe writes, paths."""
