"""Metrics that are computed when they are asked for by name, each from the kept maps of one class."""
