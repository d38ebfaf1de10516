"""Reads depth files of every supported format."""
