"""Exporting: a module written down as a graph that another runtime runs, and held against the module."""
