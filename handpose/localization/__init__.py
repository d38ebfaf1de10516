"""Locates hands in depth images."""
