"""The parts of the exact engine: scores by pixel and region are stored, ranked, counted and summed without loss."""
