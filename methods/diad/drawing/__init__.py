"""Pictures of what DiAD does to an image, and figures of its training."""
