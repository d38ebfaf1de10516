"""Depth files: every format in, (H, W) float32 millimetres out."""
