"""Labels by hand, on a web page of this machine."""
