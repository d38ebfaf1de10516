"""The web page of the demo."""
