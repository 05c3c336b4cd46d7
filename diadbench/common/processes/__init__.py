"""Processes and systems: signals, locks, what each system has."""
