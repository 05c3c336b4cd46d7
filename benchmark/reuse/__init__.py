"""Finished cells again: metrics from kept maps, predictions on new images, exports."""
