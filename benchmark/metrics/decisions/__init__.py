"""Thresholds that a user could set, and what comes of them: for each class, and one for all classes."""
