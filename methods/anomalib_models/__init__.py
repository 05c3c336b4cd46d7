"""The bridge to anomalib: each of its models as a method of this project."""
