"""Measurements: each takes an ``nn.Module`` and does not know which network it is."""
