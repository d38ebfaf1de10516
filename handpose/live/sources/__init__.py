"""Where live depth frames come from."""
