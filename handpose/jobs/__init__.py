"""Many files in, records out."""
