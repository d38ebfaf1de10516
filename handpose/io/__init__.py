"""Bytes in and out, safely."""
