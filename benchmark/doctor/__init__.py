"""Is this machine fit for a grid: software, weights, data, what the device computes, how fast it is, what it costs."""
