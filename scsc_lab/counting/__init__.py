"""Counting: parameters, multiply-accumulates, activations and bytes of an ``nn.Module``."""

from scsc_lab.counting.operators import rule

__all__ = ["rule"]
