"""Finds, checks, reads and writes weights of the pose network."""
