"""Streams of depth frames."""
