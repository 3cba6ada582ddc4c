"""Swin (arXiv 2103.14030) and SCSC-Swin from one spec. Token maps are ``(N, H, W, C)``; keys as Microsoft's code."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scsc_lab.layers.pointwise import DropPath
from scsc_lab.layers.scsc import SCSC
from scsc_lab.layers.window_attention import WindowAttention
from scsc_lab.networks.specs import SCSCSpec, SwinSpec


class Swin(nn.Module):
    """The network a :class:`SwinSpec` describes: images ``(N, 3, H, W)`` to ``(N, outputs)``.

    Any input size: the image is padded to whole patches, maps to whole windows and to even sides before merging.
    """

    def __init__(self, spec: SwinSpec) -> None:
        super().__init__()
        self.spec = spec
        self.patch_embed = PatchEmbed(spec.patch, spec.embed_dim)
        rates = [spec.drop_path * i / max(sum(spec.depths) - 1, 1) for i in range(sum(spec.depths))]
        self.layers = nn.ModuleList()
        for stage, (depth, width) in enumerate(zip(spec.depths, spec.widths, strict=True), start=1):
            drop_paths = [rates.pop(0) for _ in range(depth)]
            self.layers.append(Stage(spec, stage, width, drop_paths))
        self.norm = nn.LayerNorm(spec.widths[-1])
        self.head = nn.Linear(spec.widths[-1], spec.outputs)

    @property
    def stages(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the modules that make up each stage; patch merging belongs to the stage it ends."""
        numbered = {f"stage{i}": (f"layers.{i - 1}",) for i in range(1, len(self.spec.depths) + 1)}
        return {"stem": ("patch_embed",), **numbered, "head": ("norm", "head")}

    @property
    def stage_maps(self) -> Mapping[str, str]:
        """The module whose output, ``(N, H, W, C)``, is the feature map of each stage, before patch merging."""
        return {f"stage{i}": f"layers.{i - 1}.blocks" for i in range(1, len(self.spec.depths) + 1)}

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of the head."""
        x = self.patch_embed(x)
        for stage in self.layers:
            x = stage(x)
        x = self.head(self.norm(x).mean(dim=(1, 2)))
        return x


class PatchEmbed(nn.Module):
    """Patches to tokens: a convolution as wide as its stride, then LayerNorm; ``(N, 3, …)`` to ``(N, H', W', C)``."""

    def __init__(self, patch: int, channels: int) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv2d(3, channels, patch, stride=patch)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens; the image is padded with zeros to whole patches."""
        if x.shape[2] % self.patch or x.shape[3] % self.patch:
            x = F.pad(x, (0, -x.shape[3] % self.patch, 0, -x.shape[2] % self.patch))
        x = self.norm(self.proj(x).permute(0, 2, 3, 1))
        return x


class Stage(nn.Module):
    """The blocks of one stage, then patch merging (not after the last)."""

    def __init__(self, spec: SwinSpec, stage: int, width: int, drop_paths: list[float]) -> None:
        super().__init__()
        hidden = int(spec.mlp_ratio * width)
        if stage in spec.scsc_stages:
            self.blocks = nn.Sequential(
                *(SCSCSwinBlock(width, hidden, spec.scsc[stage - 1], drop_path) for drop_path in drop_paths)
            )
        else:
            shifts = [0, spec.window // 2]
            self.blocks = nn.Sequential(
                *(
                    SwinBlock(width, hidden, spec.heads[stage - 1], spec.window, shifts[i % 2], drop_path)
                    for i, drop_path in enumerate(drop_paths)
                )
            )
        self.downsample = PatchMerging(width) if stage < len(spec.depths) else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return the map of the next stage, ``(N, H, W, C)`` to ``(N, ceil(H / 2), ceil(W / 2), 2C)``."""
        x = self.downsample(self.blocks(x))
        return x


class SwinBlock(nn.Module):
    """Window attention and an MLP, each behind a LayerNorm and beside a shortcut."""

    def __init__(self, width: int, hidden: int, heads: int, window: int, shift: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window, shift)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output map, same shape."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        return x


class SCSCSwinBlock(nn.Module):
    """SCSC without a norm before it, then an MLP behind a BatchNorm, each beside a shortcut."""

    def __init__(self, width: int, hidden: int, scsc: SCSCSpec, drop_path: float) -> None:
        super().__init__()
        self.scsc = SCSC.from_spec(scsc, width, width)
        self.drop_path = DropPath(drop_path)
        self.bn = nn.BatchNorm2d(width)
        self.mlp = MLP(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output map, same shape. Tokens seen as ``(N, C, H, W)`` are a view in channels-last order."""
        maps = x.permute(0, 3, 1, 2)
        maps = maps + self.drop_path(self.scsc(maps))
        x = maps.permute(0, 2, 3, 1)
        x = x + self.drop_path(self.mlp(self.bn(maps).permute(0, 2, 3, 1)))
        return x


class MLP(nn.Module):
    """Linear, GELU, Linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, same shape."""
        x = self.fc2(F.gelu(self.fc1(x)))
        return x


class PatchMerging(nn.Module):
    """The four tokens of each 2×2, side by side, to twice the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, ceil(H / 2), ceil(W / 2), 2C)``; an odd side is padded with zeros."""
        if x.shape[1] % 2 or x.shape[2] % 2:
            x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        pixels = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        x = self.reduction(self.norm(torch.cat(pixels, dim=-1)))
        return x
