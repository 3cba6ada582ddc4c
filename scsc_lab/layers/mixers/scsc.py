"""SCSC as a mixer, arXiv 2308.07110; see :mod:`scsc_lab.layers.scsc`."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from scsc_lab.layers import scsc


class SCSC(scsc.SCSC):
    """:class:`scsc_lab.layers.scsc.SCSC` between two widths, its settings by name.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: stride of the scales and of the gates.
        kernels: kernel sizes; in a transplant, unless given, those of the released networks, by stage.
        groups, shuffle, gates, se, activation, reduction: as in :class:`scsc_lab.layers.scsc.SCSC`.
    """

    tail: ClassVar[tuple[str, ...]] = ("recover_norm",)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        kernels: tuple[int, ...] = (),
        groups: int = 4,
        shuffle: bool = True,
        gates: bool = True,
        se: bool = True,
        activation: bool = False,
        reduction: float = 0.0,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernels or (3, 5, 7),
            groups=groups,
            stride=stride,
            shuffle=shuffle,
            gates=gates,
            se=se,
            activation=activation,
            reduction=reduction,
        )
        # In a network that was not made for it SCSC starts where GELU is close to linear. Each BatchNorm and GELU of
        # unit deviation makes gradients larger against the signal, a whole module 1.4 times, which 16 of them make 300.
        for norm in (self.reduce_norm, self.encoder_norm):
            nn.init.constant_(norm.weight, 0.1)
