"""A network from a function, as tests of counting need many."""

from __future__ import annotations

from torch import nn


class Function(nn.Module):
    """A network from a function of itself and its inputs; a real one reads a value, and so leaves the meta device."""

    def __init__(self, function, real=False, **members):
        super().__init__()
        self.function, self.real = function, real
        for name, member in members.items():
            setattr(self, name, member)

    def forward(self, *inputs, **keywords):
        if self.real:
            float(inputs[0].sum())
        return self.function(self, *inputs, **keywords)
