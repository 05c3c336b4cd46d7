"""A method step by step, each stage a command: what runs inside a cell, with a directory between each two."""
