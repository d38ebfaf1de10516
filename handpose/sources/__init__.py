"""Where frames come from: cameras, folders, recordings, a rendered hand."""
