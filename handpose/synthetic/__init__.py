"""Synthetic depth data: an articulated hand, scenes, a renderer and a sensor model, batched in torch."""
