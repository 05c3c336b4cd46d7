"""Features of images: backbones, their weights, caches, nearest neighbours."""
