"""How good poses are, and how fast."""
