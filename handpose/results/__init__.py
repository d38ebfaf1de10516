"""What comes out, and how it is written and shown."""
