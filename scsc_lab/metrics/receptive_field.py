"""The theoretical receptive field of a unit: which pixels can reach it at all, and where its true centre is.

Both come from gradients through a copy of the network in which nothing can vanish: weights are positive, activations
and normalisations pass the gradient on and put out ones, pooling takes the mean in place of the largest, attention the
mean of the tokens it may look at. For the centre, convolutions keep their middle tap alone, attention looks at the unit
itself and gates are constant, so that the gradient stays on the pixels that the unit is aligned with.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from scsc_lab.metrics.targets import Seen, run_to

_MASKED = 50.0
"""A token whose score is this far below the largest is masked: Swin masks with −100."""


@dataclass(frozen=True, eq=False)
class ReceptiveField:
    """The theoretical field of the unit in the middle of a feature map.

    Attributes:
        support: pixels that reach unit ``(h // 2, w // 2)``, ``(H, W)``; ``None`` where it could not be told.
        centre: true centre of that unit, row and column, in pixels.
        stride: distance of neighbouring units, in pixels.
    """

    support: NDArray[np.bool_] | None
    centre: tuple[float, float]
    stride: tuple[float, float]

    @property
    def sides(self) -> tuple[int, int] | None:
        """Height and width of the field, in pixels, as far as it is inside the image."""
        if self.support is None:
            return None
        rows, columns = (np.nonzero(self.support.any(axis=axis))[0] for axis in (1, 0))
        return int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1

    @property
    def reaches_border(self) -> bool:
        """Whether the field touches the border of the image, and so may go on beyond it."""
        support = self.support
        return support is not None and bool(
            support[0].any() or support[-1].any() or support[:, 0].any() or support[:, -1].any()
        )


def receptive_fields(model: nn.Module, seen: Sequence[Seen], shape: tuple[int, int, int]) -> list[ReceptiveField]:
    """Return the theoretical field of the middle unit of each feature map.

    Args:
        model: the network; it is left as it is.
        seen: the feature maps; see :func:`scsc_lab.metrics.targets.survey`.
        shape: input channels, height and width.
    """
    supports = _gradients(_stand_in(model, torch.float64, centre_taps=False), seen, shape, _Support(), (0,))
    aligned = _gradients(_stand_in(model, torch.float32, centre_taps=True), seen, shape, _Alignment(), (0, 1))
    found = []
    for index, one in enumerate(seen):
        centre, stride = _alignment(aligned[index], one.layout.size, shape[1:])
        support = supports[index][0] > 0
        found.append(ReceptiveField(support if support.any() else None, centre, stride))
    return found


def _gradients(
    model: nn.Module,
    seen: Sequence[Seen],
    shape: tuple[int, int, int],
    mode: TorchFunctionMode,
    steps: Sequence[int],
) -> list[list[NDArray[np.float64]]]:
    """Return absolute gradients of units ``(h // 2 − step, w // 2 − step)`` of every map, ``(H, W)`` each."""
    dtype = next((p.dtype for p in model.parameters()), torch.float32)
    x = torch.ones(1, *shape, dtype=dtype, requires_grad=True)
    with torch.enable_grad(), mode:
        outputs = run_to(model, x, {one.layer: lambda output: output for one in seen})
        maps = [one.layout.maps(outputs[one.layer]) for one in seen]
    found = []
    for feature in maps:
        height, width = feature.shape[2] // 2, feature.shape[3] // 2
        units = [feature[0, :, max(height - step, 0), max(width - step, 0)].sum() for step in steps]
        grads = [
            torch.autograd.grad(unit, x, retain_graph=True)[0] if unit.requires_grad else torch.zeros_like(x)
            for unit in units
        ]
        found.append([grad[0].abs().sum(0).double().numpy() for grad in grads])
    return found


def _alignment(
    gradients: Sequence[NDArray[np.float64]], size: tuple[int, int], resolution: tuple[int, ...]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return centre and stride of a map's units from the gradients of two neighbours on its diagonal."""
    centres = [_centroid(gradient) for gradient in gradients]
    if any(centre is None for centre in centres):
        stride = [whole / side for whole, side in zip(resolution, size, strict=True)]
        middle = [(side // 2 + 0.5) * step - 0.5 for side, step in zip(size, stride, strict=True)]
        return (middle[0], middle[1]), (stride[0], stride[1])
    here, there = (np.array(centre) for centre in centres)
    stride = [
        float(distance) if side > 1 else float(whole)
        for distance, side, whole in zip(here - there, size, resolution, strict=True)
    ]
    return (float(here[0]), float(here[1])), (stride[0], stride[1])


def _centroid(gradient: NDArray[np.float64]) -> tuple[float, float] | None:
    total = gradient.sum()
    if not np.isfinite(total) or total <= 0:
        return None
    rows, columns = gradient.sum(1) @ np.arange(gradient.shape[0]), gradient.sum(0) @ np.arange(gradient.shape[1])
    return round(float(rows / total), 4), round(float(columns / total), 4)


def _stand_in(model: nn.Module, dtype: torch.dtype, *, centre_taps: bool) -> nn.Module:
    """Return a copy of a network on the CPU with positive weights that neither vanish nor explode with depth."""
    copied = copy.deepcopy(model).to(device="cpu", dtype=dtype).eval()
    with torch.no_grad():
        for name, weight in copied.named_parameters():
            weight.requires_grad_(False)
            if weight.dim() < 2:
                weight.fill_(0.0 if name.endswith("bias") else 1.0)
                continue
            spatial = weight[0, 0].numel() if weight.dim() > 3 else 1
            inputs = weight[0].numel() / spatial
            if centre_taps and weight.dim() > 3:
                weight.copy_((_centre_taps(weight.shape[2:], dtype) / inputs).expand_as(weight))
            else:  # between 1 (the sum explodes) and 1 / spatial (the corner vanishes)
                weight.fill_(1.0 / (inputs * spatial**0.5))
    return copied


def _centre_taps(sides: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return a kernel of sum 1 on its middle: one tap of an odd side, two of an even one."""
    taps = torch.zeros(*sides, dtype=dtype)
    taps[tuple(slice((side - 1) // 2, side // 2 + 1) for side in sides)] = 1.0
    return taps / taps.sum()


def _passed(x: Tensor) -> Tensor:
    """Return ones with the gradient of ``x``."""
    return x - x.detach() + 1.0


def _pooled(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    centre_taps: bool = False,
) -> Tensor:
    """Stand for max pooling by the mean, or by what is in the middle of each window; same shape."""
    sides, strides, pads, dilations = (
        (value, value) if isinstance(value, int) else tuple(value)
        for value in (kernel_size, stride or kernel_size, padding, dilation)
    )
    if not centre_taps and dilations == (1, 1):
        return F.avg_pool2d(x, sides, strides, pads, ceil_mode)
    size = F.max_pool2d(x.detach(), sides, strides, pads, dilations, ceil_mode).shape[2:]
    taps = _centre_taps(sides, x.dtype) if centre_taps else torch.full(sides, 1.0 / math.prod(sides), dtype=x.dtype)
    missing = [
        max((out - 1) * step + d * (side - 1) + 1 - whole - 2 * pad, 0)
        for out, step, d, side, whole, pad in zip(size, strides, dilations, sides, x.shape[2:], pads, strict=True)
    ]
    x = F.pad(x, (pads[1], pads[1] + missing[1], pads[0], pads[0] + missing[0]))
    return F.conv2d(x, taps.expand(x.shape[1], 1, *sides), None, strides, 0, dilations, x.shape[1])


def _middle_of_mean(
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, *rest: Any, **options: Any
) -> Tensor:
    """Stand for average pooling by what is in the middle of each window."""
    ceil_mode = bool(options.get("ceil_mode", rest[0] if rest else False))
    return _pooled(x, kernel_size, stride, padding, ceil_mode=ceil_mode, centre_taps=True)


def _spread(x: Tensor, *rest: Any, **options: Any) -> Tensor:
    """Normalisation over places: every place reaches every other."""
    return _passed(x + x.mean(dim=tuple(range(1, x.dim())), keepdim=True))


def _softmax(x: Tensor, *rest: Any, **options: Any) -> Tensor:
    """Equal weights for all that is not masked, with the gradient of the scores."""
    dim = options.get("dim", rest[0] if rest and isinstance(rest[0], int) else -1)
    scores = x.detach()
    seen = (scores > scores.amax(dim=dim, keepdim=True) - _MASKED).to(x.dtype)
    return seen / seen.sum(dim=dim, keepdim=True) + (x - scores) * seen


def _attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *rest: Any, **_: Any) -> Any:
    if attn_mask is None:
        return value.mean(dim=-2, keepdim=True).expand(*value.shape[:-2], query.shape[-2], value.shape[-1])
    scores = attn_mask.to(value.dtype) if attn_mask.dtype != torch.bool else attn_mask.to(value.dtype) * 2 * _MASKED
    return _softmax(scores.detach()) @ value


def _all_tokens(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **_: Any) -> tuple[Tensor, None]:
    """Stand for ``multi_head_attention_forward``, tokens first."""
    return query + value.mean(dim=-1, keepdim=True).mean(dim=0, keepdim=True), None


def _own_token(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **_: Any) -> Tensor:
    return value if value.shape == query.shape else query


def _constant(x: Tensor, *rest: Any, **_: Any) -> Tensor:
    return torch.ones_like(x)


def _own_place(x: Tensor, *rest: Any, **_: Any) -> Tensor:
    """Scores of tokens among themselves become the identity; other weights are equal."""
    if x.dim() > 2 and x.shape[-1] == x.shape[-2]:
        return torch.eye(x.shape[-1], dtype=x.dtype).expand(x.shape)
    return torch.full_like(x, 1.0 / x.shape[-1])


_GATES = ("sigmoid", "hardsigmoid", "tanh")
_PASSED = (
    *("relu relu6 gelu silu mish hardswish hardtanh leaky_relu prelu rrelu elu celu selu softplus softsign".split()),
    *("batch_norm layer_norm rms_norm local_response_norm normalize threshold logsigmoid".split()),
)
Rule = Callable[..., Any]


class _StandInMode(TorchFunctionMode):
    rules: dict[str, Rule]

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        rule = self.rules.get(getattr(func, "__name__", "").strip("_"))
        if rule is None:
            return func(*args, **kwargs)
        if not args and "input" in kwargs:
            args = (kwargs.pop("input"),)
        return rule(*args, **kwargs)


def _only(rule: Callable[[Tensor], Tensor]) -> Rule:
    return lambda x, *rest, **options: rule(x)


_COMMON: dict[str, Rule] = {
    **dict.fromkeys(_PASSED, _only(_passed)),
    "max_pool2d": _pooled,
    "adaptive_max_pool2d": lambda x, size, *rest, **options: F.adaptive_avg_pool2d(x, size),
}


class _Support(_StandInMode):
    rules = {  # noqa: RUF012
        **_COMMON,
        **dict.fromkeys(_GATES, _only(_passed)),
        "group_norm": _spread,
        "instance_norm": _spread,
        "softmax": _softmax,
        "scaled_dot_product_attention": _attention,
        "multi_head_attention_forward": _all_tokens,
    }


class _Alignment(_StandInMode):
    rules = {  # noqa: RUF012
        **_COMMON,
        **dict.fromkeys(_GATES, _constant),
        "max_pool2d": functools.partial(_pooled, centre_taps=True),
        "avg_pool2d": _middle_of_mean,
        "group_norm": _only(_passed),
        "instance_norm": _only(_passed),
        "softmax": _own_place,
        "scaled_dot_product_attention": _own_token,
        "multi_head_attention_forward": lambda query, key, value, *rest, **_: (query, None),
    }
