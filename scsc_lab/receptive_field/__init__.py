"""Receptive fields, effective and theoretical, of an ``nn.Module``."""
