"""The adapters of single datasets: where samples, masks and splits lie."""
