"""Layers that read like the papers they come from."""
