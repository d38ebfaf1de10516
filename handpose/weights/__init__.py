"""Weights: which there are, where they are, and what they must be."""
