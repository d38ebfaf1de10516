"""Synthetic depth: an articulated hand, a renderer, a scene and a sensor, all batched in torch."""
