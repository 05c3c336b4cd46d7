"""From test images to the metrics: normal images, sizes, batches read ahead, what is kept of a part."""
