"""The commands of `handpose`, by what they are for."""
