"""Download a published dataset from its owner's server: links as data, resumable, verified, safely unpacked."""
