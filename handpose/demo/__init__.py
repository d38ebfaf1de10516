"""The web page to try hands on."""
