"""Where hands are in a depth image."""
