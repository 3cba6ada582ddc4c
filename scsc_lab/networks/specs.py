"""Architectures as frozen data: what a network is, without torch. An ablation is ``dataclasses.replace``.

Stages are numbered from 1, as papers do; per-stage tuples run in that order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from scsc_lab.errors import InputError

_LARGEST_KERNEL = 1023
_WIDEST = 64  # times the input, which a module is inside


@dataclass(frozen=True)
class SCSCSpec:
    """One SCSC module (arXiv 2308.07110): parallel depthwise scales, summed by position-wise gates.

    Attributes:
        kernels: side of the depthwise kernel of each scale, in pixels; odd.
        groups: channel groups that have a gate of their own at every position.
        shuffle: mix the channels of the scales before the gates. Off: the gates sum the same channel over the scales.
        gates: weight the slices by position-wise gates. Off: the plain sum over the slices.
        se: squeeze-and-excitation on the output.
        activation: GELU after the recover convolution (the ResNet form has it, the Swin form has not).
        reduction: reduced width over the input's. 0, as released: one over the number of kernels.
    """

    kernels: tuple[int, ...] = (3, 5, 7)
    groups: int = 4
    shuffle: bool = True
    gates: bool = True
    se: bool = True
    activation: bool = False
    reduction: float = 0.0

    def __post_init__(self) -> None:
        check_kernels("kernels", self.kernels)
        _at_least("groups", self.groups, 1)
        if not 0 <= self.reduction <= _WIDEST:
            raise InputError(
                f"reduction={self.reduction:g}: the reduced width over the input's, e.g. reduction=0.5; 0 as released"
            )

    def reduced_channels(self, in_channels: int) -> int:
        """Return the reduced width ``c``, rounded up to a multiple of the groups; ``in_channels // m`` as released.

        Raises:
            InputError: if there are more scales, or more groups, than channels to share out.
        """
        quotient = in_channels // len(self.kernels)
        if quotient < 1:
            raise InputError(f"kernels has {len(self.kernels)} sizes, more than the {in_channels} channels they share")
        if self.reduction:
            reduced = max(int(in_channels * self.reduction + 1e-6), 1)
            return -(-reduced // self.groups) * self.groups
        if self.groups > quotient:
            raise InputError(
                f"groups={self.groups} cannot divide the {quotient} channels that {in_channels} leave to each of "
                f"{len(self.kernels)} kernels: groups goes from 1 to {quotient} here"
            )
        return -(-quotient // self.groups) * self.groups


@dataclass(frozen=True)
class ResNetSpec:
    """A ResNet, a FaceResNet (other widths, other head) or one with SCSC in some of its stages.

    Attributes:
        depths: blocks in each stage.
        widths: output channels of each stage.
        bottleneck_widths: channels of the 3×3 convolution in each stage; a basic block has one width and ignores it.
        block: the block of the stages without SCSC: two 3×3 convolutions (``basic``) or 1×1, 3×3, 1×1 (``bottleneck``).
        strides: stride of the first block of each stage.
        stem: ``conv7_pool`` (7×7 stride 2, then 3×3 max-pool stride 2) or ``conv3`` (3×3 stride 2 alone).
        stem_width: output channels of the stem.
        outputs: outputs of the linear head: classes, or the length of an embedding.
        head_bias: whether the head has a bias.
        scsc: the SCSC module of each stage, used where ``scsc_stages`` says so.
        scsc_stages: the stages whose blocks are SCSC blocks.
        scsc_replaces: what SCSC stands in for: the whole ``block``, or the bottleneck's ``spatial`` part, its 3×3 and
            closing 1×1 convolutions, while the opening 1×1 stays.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    bottleneck_widths: tuple[int, ...] = (64, 128, 256, 512)
    block: Literal["basic", "bottleneck"] = "bottleneck"
    strides: tuple[int, ...] = (1, 2, 2, 2)
    stem: Literal["conv7_pool", "conv3"] = "conv7_pool"
    stem_width: int = 64
    outputs: int = 1000
    head_bias: bool = True
    scsc: tuple[SCSCSpec, ...] = ()
    scsc_stages: tuple[int, ...] = ()
    scsc_replaces: Literal["block", "spatial"] = "block"

    def __post_init__(self) -> None:
        _positive("depths", self.depths, _MOST_BLOCKS)
        _per_stage(self.depths, widths=self.widths, bottleneck_widths=self.bottleneck_widths, strides=self.strides)
        for name in ("stem_width", "outputs"):
            _at_least(name, getattr(self, name), 1)
        _check_scsc_stages(self.depths, self.scsc, self.scsc_stages)
        block_input = self.stem_width
        for stage, width in enumerate(self.widths, start=1):
            if stage in self.scsc_stages:
                spatial = self.scsc_replaces == "spatial"
                inputs = {self.bottleneck_widths[stage - 1]} if spatial else {block_input, width}
                for channels in inputs:
                    self.scsc[stage - 1].reduced_channels(channels)
            block_input = width


@dataclass(frozen=True)
class SwinSpec:
    """A Swin Transformer, or one with SCSC in place of window attention in some of its stages.

    An SCSC block has no norm before SCSC and a BatchNorm in the place of Swin's second LayerNorm.

    Attributes:
        embed_dim: channels of the first stage; each later stage has twice those of the one before.
        depths: blocks in each stage.
        heads: attention heads in each stage.
        window: side of the attention window, in tokens.
        patch: side and stride of the patch embedding, in pixels.
        mlp_ratio: hidden width of the MLP over its input's.
        drop_path: stochastic depth of the last block; it rises linearly from 0 at the first.
        outputs: outputs of the linear head.
        init_std: standard deviation of the linear layers' random weights, before the cut at two; 0: 1/√inputs (LeCun et
            al. 1998), for networks much narrower than those that 0.02 was chosen for, whose tokens it leaves too small.
        scsc: the SCSC module of each stage, used where ``scsc_stages`` says so.
        scsc_stages: the stages whose blocks are SCSC blocks.
    """

    embed_dim: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int = 7
    patch: int = 4
    mlp_ratio: float = 4.0
    drop_path: float = 0.1
    outputs: int = 1000
    init_std: float = 0.02
    scsc: tuple[SCSCSpec, ...] = ()
    scsc_stages: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _positive("depths", self.depths, _MOST_BLOCKS)
        _per_stage(self.depths, heads=self.heads)
        if not 0.0 <= self.init_std <= 1.0:
            raise InputError(f"init_std={self.init_std}: a number from 0 to 1, e.g. init_std=0.02")
        for name in ("embed_dim", "patch", "outputs"):
            _at_least(name, getattr(self, name), 1)
        _at_least("window", self.window, 2, _WINDOW)
        if not 0.0 <= self.drop_path < 1.0:
            raise InputError(f"drop_path={self.drop_path}: a probability from 0 to below 1")
        if not self.mlp_ratio > 0.0 or self.mlp_ratio * self.embed_dim < 1.0 or self.mlp_ratio > 1024:
            raise InputError(f"mlp_ratio={self.mlp_ratio}: a number above 0, e.g. mlp_ratio=4")
        _check_scsc_stages(self.depths, self.scsc, self.scsc_stages)
        for stage, width in enumerate(self.widths, start=1):
            if stage in self.scsc_stages:
                self.scsc[stage - 1].reduced_channels(width)
            elif width % self.heads[stage - 1]:
                raise InputError(
                    f"heads={self.heads[stage - 1]} does not divide the {width} channels of stage {stage}; "
                    "change heads or embed_dim"
                )

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return tuple(self.embed_dim << stage for stage in range(len(self.depths)))


RELEASED_KERNELS = ((3, 9, 13), (3, 7, 11), (3, 5, 7), (3, 5))
"""Kernel sizes of each stage in the released networks."""

NetworkSpec: TypeAlias = ResNetSpec | SwinSpec


def check_kernels(name: str, kernels: Sequence[int], least: int = 1) -> None:
    """Raise InputError unless there are kernels, and each is an odd side from the least up."""
    if not kernels:
        raise InputError(f"{name} is empty: give at least one kernel size, e.g. {name}=3,5,7")
    for kernel in kernels:
        if not least <= kernel <= _LARGEST_KERNEL or kernel % 2 == 0:
            raise InputError(
                f"{name} has {kernel}: a kernel size is an odd number from {least} to {_LARGEST_KERNEL}, e.g. 7"
            )


_MOST_STAGES = 8
_MOST_BLOCKS = 1000
_WINDOW = 128  # a window's table of positions has the fourth power of its side
_LARGEST = 10**6
"""Bounds within which a network can be built in seconds; channels, heads and outputs go up to the last."""


def _at_least(name: str, value: int, least: int, most: int = _LARGEST) -> None:
    if not least <= value <= most:
        raise InputError(f"{name}={value}: at least {least}" if value < least else f"{name}={value}: at most {most}")


def _positive(name: str, values: tuple[int, ...], most: int = _LARGEST) -> None:
    if not 1 <= len(values) <= _MOST_STAGES or not all(1 <= value <= most for value in values):
        listed = ",".join(map(str, values))
        raise InputError(f"{name}={listed}: numbers from 1 up to {most}, one for each of at most {_MOST_STAGES} stages")


def _per_stage(depths: tuple[int, ...], **fields: tuple[int, ...]) -> None:
    for name, values in fields.items():
        _positive(name, values)
        if len(values) != len(depths):
            raise InputError(
                f"{name} has {len(values)} entries for the {len(depths)} stages of depths: give one per stage"
            )


def _check_scsc_stages(depths: tuple[int, ...], scsc: tuple[SCSCSpec, ...], stages: tuple[int, ...]) -> None:
    if len(set(stages)) != len(stages) or any(not 1 <= stage <= len(depths) for stage in stages):
        listed = ",".join(map(str, stages))
        raise InputError(f"scsc_stages={listed}: different stages from 1 to {len(depths)}, e.g. scsc_stages=1,2")
    if stages and len(scsc) != len(depths):
        raise InputError(f"scsc describes {len(scsc)} stages, depths has {len(depths)}: give one SCSC module per stage")
