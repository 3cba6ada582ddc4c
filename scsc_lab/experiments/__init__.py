"""Experiments: networks and metrics in, rows out."""
