"""Prediction of many files, in this process or on a cluster."""
