"""Exporting: a module written as a graph that another runtime runs, and compared with the module."""
