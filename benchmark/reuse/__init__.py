"""Reuse finished cells: metrics from kept maps, predictions on new images, exports."""
