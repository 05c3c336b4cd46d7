"""Processes and operating systems: signals, locks, differences between systems."""
