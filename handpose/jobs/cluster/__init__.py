"""Prediction on a Ray cluster: files, archives and tables in, Parquet tables out."""
