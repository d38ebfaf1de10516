"""Hand tracking in streams of depth frames."""
