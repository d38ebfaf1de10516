"""Frames from anywhere to Parquet tables, on a Ray cluster."""
