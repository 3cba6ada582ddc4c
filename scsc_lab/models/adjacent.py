"""Which BatchNorms follow which convolutions, as a forward pass shows it; a network's names and lists prove nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_SIDES = (224, 64, 32, 8)
"""Sides of the inputs that are tried, in pixels, where none is given."""

_READS = frozenset({"__get__", "dim", "size", "is_contiguous", "stride", "numel", "element_size", "ndimension"})
"""What a network may ask of a tensor without using its values."""


def example(model: nn.Module, input_shape: Sequence[int] | None = None) -> Iterator[Tensor]:
    """Yield black images of a shape, or of those that a network may take, the likeliest first."""
    like = next((one for one in model.parameters() if one.is_floating_point()), torch.zeros(()))
    first = next((one for one in model.modules() if isinstance(one, nn.Conv2d)), None)
    channels = first.in_channels if first else 3
    for shape in [tuple(input_shape)] if input_shape else [(1, channels, side, side) for side in _SIDES]:
        yield torch.zeros(shape, device=like.device, dtype=like.dtype)


def pairs(model: nn.Module, x: Tensor) -> list[tuple[str, str]]:
    """Return the convolutions whose output goes into one BatchNorm and nowhere else, and these BatchNorms, by name.

    Both are of torch's own classes and have no hooks, each is used once in the pass, and nothing else reads their
    weights or statistics. The BatchNorm has running statistics.

    Args:
        model: any network in evaluation mode.
        x: an input it takes.
    """
    convs = {module: name for name, module in model.named_modules() if _plain(module, nn.Conv2d)}
    norms = {module: name for name, module in model.named_modules() if _plain(module, nn.BatchNorm2d)}
    uses = _Uses([*convs, *norms])
    with torch.no_grad(), uses:
        out = model(x)
    uses.see(_tensors(out), None)
    found = []
    for norm, name in norms.items():
        conv = uses.source.get(norm)
        if conv is not None and {conv, norm} <= uses.once and norm.running_mean is not None:
            found.append((convs[conv], name))
    return found


def _plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return type(module) is kind and not any(hooks)


class _Uses(TorchFunctionMode):
    """Follow what each convolution gives, and every use of the tensors of the modules that are watched.

    Attributes:
        source: the convolution whose output a BatchNorm took.
        once: modules that were used once, and whose output, weights and statistics nothing else saw.
    """

    def __init__(self, watched: list[Any]) -> None:
        super().__init__()
        self.owners: dict[int, list[Any]] = {}
        for module in watched:
            for tensor in itertools.chain(module.parameters(recurse=False), module.buffers(recurse=False)):
                self.owners.setdefault(id(tensor), []).append(module)
        self.given: dict[int, tuple[Tensor, Any]] = {}  # outputs of convolutions, kept so that identities stay theirs
        self.source: dict[Any, Any] = {}
        self.calls: dict[Any, int] = dict.fromkeys(watched, 0)
        self.spoilt: set[Any] = set()

    @property
    def once(self) -> set[Any]:
        return {module for module, calls in self.calls.items() if calls == 1} - self.spoilt

    def see(self, tensors: list[Tensor], user: Any) -> None:
        """Note that something used tensors: a watched module, or something else, ``None``."""
        for tensor in tensors:
            if id(tensor) in self.given and not isinstance(user, nn.BatchNorm2d):
                self.spoilt.add(self.given[id(tensor)][1])
            self.spoilt |= {owner for owner in self.owners.get(id(tensor), ()) if owner is not user}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = _tensors([args, kwargs])
        user = self._user(func, given) if func in (torch.conv2d, F.batch_norm) else None
        out = func(*args, **kwargs)
        if user is not None:
            self.calls[user] += 1
            if func is torch.conv2d:
                self.given[id(out)] = (out, user)
            elif id(given[0]) in self.given:
                conv = self.given[id(given[0])][1]
                if conv in self.source.values():
                    self.spoilt.add(conv)
                self.source[user] = conv
        if func.__name__ not in _READS:
            self.see(given, user)
        return out

    def _user(self, func: Any, given: list[Tensor]) -> Any:
        """Return the watched module whose own weights, or statistics, a function was called with."""
        kind = nn.Conv2d if func is torch.conv2d else nn.BatchNorm2d
        owners = [owner for tensor in given[1:] for owner in self.owners.get(id(tensor), ())]
        return next((owner for owner in owners if isinstance(owner, kind)), None)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for item in value for tensor in _tensors(item)] if isinstance(value, (list, tuple)) else []
