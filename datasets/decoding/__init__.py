"""From files to tensors: images, masks, the cache of decoded images, batches."""
