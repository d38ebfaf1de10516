"""Predicts hand poses in depth images."""
