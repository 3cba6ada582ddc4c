"""Weights of another input size, window or number of classes, made to fit a network as timm does."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from scsc_lab import units
from scsc_lab.errors import imported

_TABLE = re.compile(r"(^|\.)(relative_position_bias_table|rel_pos\.relative_position_bias_table)$")
_EMBEDDING = re.compile(r"(^|\.)(absolute_)?(pos|position)_(embed|embedding|embeddings)$")
_BUFFER = re.compile(r"(^|\.)(relative_position_index|relative_coords_table|attn_mask)$")
_PREFIX_TOKENS = (0, 1, 2, 5)
"""Tokens before those of the patches: none, the class's, a distillation's, four registers."""


class Fitted(NamedTuple):
    """Weights that fit a network.

    Attributes:
        state: the weights, by the network's names.
        notes: changes of the weights, in words.
        has_random: whether the network's head is in the place of the file's.
    """

    state: dict[str, Tensor]
    notes: Sequence[str] = ()
    has_random: bool = False


def fit(state: Mapping[str, Tensor], model: nn.Module) -> Fitted:
    """Return a state dict with tables of positions interpolated and a head of another size left as the network's own.

    Tables of relative positions and position embeddings are interpolated by timm. Buffers of positions and the weights
    of the last layer, if their outputs differ or are missing, are the network's own.

    Args:
        state: weights by the network's names.
        model: the network.

    Raises:
        InputError: if timm is needed and not installed.
    """
    expected = model.state_dict()
    head = head_of(model)
    fitted, notes, has_random = dict(state), dict[str, list[str]](), False
    for key, value in expected.items():
        loaded = state.get(key)
        if loaded is None and key.startswith(f"{head}."):
            fitted[key], has_random = value, True
            notes.setdefault(f"{head} is not in the file and stays random", [])
        elif loaded is None or loaded.shape == value.shape:
            continue
        elif _BUFFER.search(key):
            fitted[key] = value
        elif key.startswith(f"{head}.") and loaded.shape[1:] == value.shape[1:]:
            fitted[key], has_random = value, True
            notes.setdefault(f"{head} has {len(value)} outputs for {len(loaded)} in the file and stays random", [])
        elif (resized := _resized(key, loaded, value, model)) is not None:
            fitted[key] = resized
            sizes = f"{units.size(loaded.shape)} to {units.size(value.shape)}"
            notes.setdefault(f"interpolated from {sizes}", []).append(key)
    return Fitted(fitted, [f"{_listed(keys)} {note}" if keys else note for note, keys in notes.items()], has_random)


def head_of(model: nn.Module) -> str:
    """Return the name of a network's last layer with weights."""
    layers = (nn.Linear, nn.modules.conv._ConvNd)
    return next((name for name, module in reversed([*model.named_modules()]) if isinstance(module, layers)), "")


def _resized(key: str, loaded: Tensor, value: Tensor, model: nn.Module) -> Tensor | None:
    """Return a table of positions in another size; ``None`` if it is none, or of another width."""
    if _TABLE.search(key) and loaded.dim() == value.dim() == 2 and loaded.shape[1] == value.shape[1]:
        side = math.isqrt(len(value))
        if side**2 != len(value) or math.isqrt(len(loaded)) ** 2 != len(loaded):
            return None
        window = (side + 1) // 2
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about the speed of timm's interpolation
            resize = _timm("pos_embed_rel").resize_rel_pos_bias_table
            table: Tensor = resize(loaded, (window, window), tuple(value.shape))
        return table
    if not _EMBEDDING.search(key) or loaded.dim() != value.dim() or loaded.shape[-1] != value.shape[-1]:
        return None
    if value.dim() == 4:
        embedding: Tensor = _timm("pos_embed").resample_abs_pos_embed_nhwc(loaded, [*value.shape[1:3]])
        return embedding
    grid = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    for prefix in _PREFIX_TOKENS if value.dim() == 3 else ():
        patches = value.shape[1] - prefix
        sides = tuple(grid) if grid and math.prod(grid) == patches else (math.isqrt(patches),) * 2
        if math.prod(sides) == patches and math.isqrt(loaded.shape[1] - prefix) ** 2 == loaded.shape[1] - prefix:
            embedding = _timm("pos_embed").resample_abs_pos_embed(loaded, [*sides], num_prefix_tokens=prefix)
            return embedding
    return None


def _timm(module: str) -> Any:
    hint = "--resize-weights interpolates with timm: python -m pip install 'scsc-lab[timm]'"
    return imported(f"timm.layers.{module}", hint)


def _listed(keys: list[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more"
