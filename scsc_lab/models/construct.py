"""From a spec to a network: initialised at random, loaded from a file, or empty for counting."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from scsc_lab.models import checkpoints
from scsc_lab.models.resnet import ResNet
from scsc_lab.models.swin import Swin
from scsc_lab.networks.specs import NetworkSpec, ResNetSpec


def from_spec(spec: NetworkSpec, weights: str | Path | None = None, *, resize: bool = False) -> ResNet | Swin:
    """Return the network of a spec in evaluation mode, with weights from a file or at random.

    Random weights come from torch's global generator: Kaiming normal for ResNet and SCSC convolutions (fan out, as
    torchvision; fan in for depthwise ones), normal with the spec's ``init_std`` for Swin's linear layers.

    Raises:
        InputError: if the weights cannot be read or belong to another network.
    """
    with uninitialised():
        model = _construct(spec)
    if weights is None or resize:
        initialise(model)  # a head that does not fit stays so
    else:
        fill(model, 0.0)
    if weights is not None:
        checkpoints.load(model, Path(weights), resize=resize)
    return model.eval()


def empty(spec: NetworkSpec, device: str = "meta") -> ResNet | Swin:
    """Return the network of a spec in evaluation mode with no weights: on ``meta`` no memory, elsewhere zeros."""
    with torch.device(device), uninitialised():  # to_empty of meta tensors imports SymPy
        model = _construct(spec)
    if device != "meta":
        fill(model, 0.0)
    return model.eval()


def initialise(model: nn.Module) -> None:
    """Fill a network with random weights from torch's global generator; see :func:`from_spec` for the distributions."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.groups > 1 or isinstance(model, Swin)
            nn.init.kaiming_normal_(module.weight, mode="fan_in" if fan_in else "fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear) and isinstance(model, Swin):
            std = model.spec.init_std or 1.0 / math.sqrt(module.in_features)
            nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
        elif isinstance(module, nn.Linear):
            bound = 1.0 / math.sqrt(module.in_features)
            nn.init.uniform_(module.weight, -bound, bound)
        elif isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
            nn.init.ones_(module.weight)
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
        bias = getattr(module, "bias", None)
        if isinstance(bias, torch.Tensor):
            nn.init.zeros_(bias)
        table = getattr(module, "relative_position_bias_table", None)
        if isinstance(table, torch.Tensor):
            nn.init.trunc_normal_(table, std=0.02, a=-0.04, b=0.04)


def fill(model: nn.Module, value: float) -> None:
    """Set every parameter and buffer of a network to one value."""
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.fill_(value)


def _construct(spec: NetworkSpec) -> ResNet | Swin:
    return ResNet(spec) if isinstance(spec, ResNetSpec) else Swin(spec)


_FILLS = frozenset({"uniform_", "normal_", "kaiming_uniform_", "trunc_normal_", "ones_", "zeros_", "fill_", "zero_"})


def uninitialised() -> TorchFunctionMode:
    """Return a context in which modules are constructed without drawing weights."""
    return _Uninitialised()


class _Uninitialised(TorchFunctionMode):
    """Construct modules without drawing weights: they are drawn, loaded or never needed afterwards.

    On the meta device this also spares torch's decompositions of the random fills, whose first use takes a second.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in _FILLS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
