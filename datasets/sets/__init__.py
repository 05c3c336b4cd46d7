"""One file a data set: where its samples, masks and splits lie."""
