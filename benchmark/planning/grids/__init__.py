"""A grid's shape, and the parts of reading one: presets, entries, overrides, values, paths."""
