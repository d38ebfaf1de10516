"""Sources of depth frames: cameras, folders, recordings and a synthetic hand."""
