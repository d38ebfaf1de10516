"""Joint layouts, cameras and crops, in numpy."""
