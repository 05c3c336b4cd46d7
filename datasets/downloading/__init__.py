"""Get a published set from its owner's server: links as data, resumable, verified, unpacked with care."""
