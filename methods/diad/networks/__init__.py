"""DiAD's networks: the model, SFF, the discriminator of stage 1, and functions that save memory."""
