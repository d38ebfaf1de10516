"""Recordings of depth cameras: files with many frames, their intrinsics, unit and times."""
