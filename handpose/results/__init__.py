"""Poses, and how they are written and shown."""
