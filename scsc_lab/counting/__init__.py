"""Counting: parameters, multiply-accumulates, activations and bytes of an ``nn.Module``."""
