"""The parts of the exact engine: scores kept by pixel and region, ranked, counted and summed without loss."""
