"""From a depth image to poses."""
