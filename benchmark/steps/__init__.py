"""Run a method step by step: each stage is a command, and the stages of a cell exchange directories."""
