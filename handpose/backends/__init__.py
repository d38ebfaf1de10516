"""What runs the network: one module per runtime, and one that chooses."""
