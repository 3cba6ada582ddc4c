"""A network that stands in for another where only the way of the gradient matters: nothing in it can vanish.

For the theoretical field weights are positive, activations and normalisations pass the gradient on and put out ones,
pooling takes the mean in place of the largest, attention the mean of the tokens it may look at. For the true centre,
convolutions and pools keep their middle tap alone, attention looks at the unit itself and gates are constant, so that
the gradient stays on the pixels that the unit is aligned with. Where nothing but gates leads to the unit, as with tanh
for an activation, they pass a faint gradient: the way through the fewest gates then decides.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from scsc_lab.receptive_field import pooling
from scsc_lab.receptive_field.pooling import Rule

_FAINT = 1e-3
"""The gradient of a gate, where only gates lead to the unit."""

_SHARE_OF_OTHER = 0.5
"""The gradient of the second of two tensors of which the larger is taken: of x and −x something is left."""

_MASKED = 50.0
"""A token whose score is this far below the largest is masked: Swin masks with −100."""


def stand_in(model: nn.Module, *, centre_taps: bool, uneven: bool = True) -> nn.Module:
    """Return a copy of a network, float64 on the CPU, with positive weights that neither vanish nor explode with depth.

    Args:
        model: the network; it is left as it is.
        centre_taps: whether convolutions have weights on their middle alone.
        uneven: whether weights differ between channels, so that a difference from the mean over channels is more than
            rounding.
    """
    copied = copy.deepcopy(model).to(device="cpu", dtype=torch.float64).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in copied.named_parameters():
            weight.requires_grad_(False)
            if weight.dim() < 2:
                weight.fill_(0.0 if name.endswith("bias") else 1.0)
                continue
            spatial = weight[0, 0].numel() if weight.dim() > 3 else 1
            inputs = weight[0].numel() / spatial
            if centre_taps and weight.dim() > 3:
                weight.copy_((pooling.centre_taps(weight.shape[2:], weight.dtype) / inputs).expand_as(weight))
            else:  # between 1 (the sum explodes) and 1 / spatial (the corner vanishes)
                weight.fill_(1.0 / (inputs * spatial**0.5))
            if uneven:
                factors = 0.5 + torch.rand(weight.shape[:2], generator=generator, dtype=weight.dtype)
                weight.mul_(factors.view(*factors.shape, *[1] * (weight.dim() - 2)))
    return copied


def _passed(x: Tensor) -> Tensor:
    """Return ones with the gradient of ``x``."""
    return x - x.detach() + 1.0


def _middle_taps(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve with the taps in the middle of kernels alone: all others are zero, and float64 has no fast kernels."""
    if isinstance(padding, str):
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    cuts = [(side - 1) // 2 for side in weight.shape[2:]]
    taps = weight[:, :, cuts[0] : weight.shape[2] - cuts[0], cuts[1] : weight.shape[3] - cuts[1]]
    steps, pads = ((value, value) if isinstance(value, int) else value for value in (dilation, padding))
    rims = [pad - cut * step for pad, cut, step in zip(pads, cuts, steps, strict=True)]
    return F.conv2d(F.pad(x, (rims[1],) * 2 + (rims[0],) * 2), taps, bias, stride, 0, dilation, groups)


def _either(operator: str) -> Rule:
    """Return what stands for the larger or smaller of two tensors: the gradient goes to both; of one, to all of it."""
    of_one = pooling.selected(operator)

    def rule(x: Tensor, *rest: Any, **options: Any) -> Any:
        second = options.get("other", rest[0] if rest else None)
        if not isinstance(second, Tensor):
            return of_one(x, *rest, **options)
        return _passed(x) + _SHARE_OF_OTHER * (second - second.detach())

    return rule


def _spread(x: Tensor, *rest: Any, **options: Any) -> Tensor:
    """Normalisation over places: every place reaches every other."""
    return _passed(x + x.mean(dim=tuple(range(1, x.dim())), keepdim=True))


def _softmax(x: Tensor, dim: int | None = None, *rest: Any, **_: Any) -> Tensor:
    """Equal weights for all that is not masked, with the gradient of the scores."""
    dim = _usual_dim(x) if dim is None else dim
    scores = x.detach()
    attended = (scores > scores.amax(dim=dim, keepdim=True) - _MASKED).to(x.dtype)
    return attended / attended.sum(dim=dim, keepdim=True) + (x - scores) * attended


def _attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *rest: Any, **_: Any) -> Any:
    if attn_mask is None:
        return value.mean(dim=-2, keepdim=True).expand(*value.shape[:-2], query.shape[-2], value.shape[-1])
    scores = attn_mask.to(value.dtype) if attn_mask.dtype != torch.bool else attn_mask.to(value.dtype) * 2 * _MASKED
    return _softmax(scores.detach(), -1) @ value


def _all_tokens(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **_: Any) -> tuple[Tensor, None]:
    """Stand for ``multi_head_attention_forward``, tokens first."""
    return query + value.mean(dim=-1, keepdim=True).mean(dim=0, keepdim=True), None


def _own_token(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **_: Any) -> Tensor:
    return value if value.shape == query.shape else query


def _usual_dim(x: Tensor) -> int:
    """Return the axis of a softmax that names none, by torch's rule."""
    return 0 if x.dim() in (0, 1, 3) else 1


def _constant(x: Tensor) -> Tensor:
    return torch.ones_like(x)


def _faint(x: Tensor) -> Tensor:
    return 1.0 + _FAINT * (x - x.detach())


def _own_place(x: Tensor, dim: int | None = None, *rest: Any, **_: Any) -> Tensor:
    """Scores of tokens among themselves become the identity; other weights are equal."""
    dim = (_usual_dim(x) if dim is None else dim) % x.dim()
    if x.dim() > 2 and dim == x.dim() - 1 and x.shape[-1] == x.shape[-2]:
        return torch.eye(x.shape[-1], dtype=x.dtype).expand(x.shape)
    return torch.full_like(x, 1.0 / x.shape[dim])


def _faint_place(x: Tensor, dim: int | None = None, *rest: Any, **_: Any) -> Tensor:
    return _own_place(x, dim) + _FAINT * (x - x.detach())


def _named_dim(rule: Rule) -> Rule:
    """Return the rule of a softmax whose other arguments stand before its axis."""
    return lambda x, *rest, dim=-1, **_: rule(x, dim)


_GATES = ("sigmoid", "hardsigmoid", "expit", "tanh")
_PASSED = (
    *("relu relu6 gelu silu mish hardswish hardtanh leaky_relu prelu rrelu elu celu selu softplus softsign".split()),
    *("threshold logsigmoid tanhshrink softshrink hardshrink clamp clip clamp_min clamp_max erf atan arctan".split()),
    *("batch_norm layer_norm rms_norm local_response_norm normalize".split()),
)
_SOFTMAXES = ("softmax", "log_softmax", "softmin")


class _StandInMode(TorchFunctionMode):
    rules: ClassVar[dict[str, Rule]]

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
    **{operator: _either(operator) for operator in ("max", "min", "maximum", "minimum", "fmax", "fmin")},
    **pooling.MEANS,
}


class Support(_StandInMode):
    """Operators that reach all that the network's own can reach: for the theoretical field."""

    rules: ClassVar[dict[str, Rule]] = {
        **_COMMON,
        **dict.fromkeys(_GATES, _only(_passed)),
        "group_norm": _spread,
        "instance_norm": _spread,
        **dict.fromkeys(_SOFTMAXES, _softmax),
        "gumbel_softmax": _named_dim(_softmax),
        "scaled_dot_product_attention": _attention,
        "multi_head_attention_forward": _all_tokens,
    }


class Alignment(_StandInMode):
    """Operators that reach what lies in their middle alone: for the true centre."""

    rules: ClassVar[dict[str, Rule]] = {
        **_COMMON,
        **dict.fromkeys(_GATES, _only(_constant)),
        "conv2d": _middle_taps,
        **pooling.MIDDLES,
        "group_norm": _only(_passed),
        "instance_norm": _only(_passed),
        **dict.fromkeys(_SOFTMAXES, _own_place),
        "gumbel_softmax": _named_dim(_own_place),
        "scaled_dot_product_attention": _own_token,
        "multi_head_attention_forward": lambda query, key, value, *rest, **_: (query, None),
    }


class FaintAlignment(_StandInMode):
    """Alignment where only gates lead to the unit."""

    rules: ClassVar[dict[str, Rule]] = {
        **Alignment.rules,
        **dict.fromkeys(_GATES, _only(_faint)),
        **dict.fromkeys(_SOFTMAXES, _faint_place),
        "gumbel_softmax": _named_dim(_faint_place),
    }
