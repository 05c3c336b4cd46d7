"""The bridge to anomalib: every model of it as a method of ours."""
