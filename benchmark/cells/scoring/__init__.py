"""From test images to metrics: normal images, sizes, batches read ahead, and kept predictions of a part."""
