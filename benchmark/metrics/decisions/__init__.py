"""Thresholds that a user could set, and their results: for each class, and with one threshold for all classes."""
