"""Improvement of weights for your own camera: fine-tuning with labels, and adaptation without labels."""
