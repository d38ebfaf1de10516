"""Accuracy and speed of pose estimation."""
