"""Readers of the public data sets: depth images, true joints and hand centers."""
