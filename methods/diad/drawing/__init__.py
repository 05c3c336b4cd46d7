"""Pictures of DiAD's results on an image, and figures of its training."""
