"""A 1×1 convolution for inference, and the GELU behind it, as one product of oneDNN. Maps are ``(N, C, H, W)``."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scsc_lab.layers.gelu import gelu
from scsc_lab.layers.tracing import is_traced

# A call of oneDNN's product costs about 20 µs more than one of MKL's, whatever its size. One thread's products pay that
# back from 7 to 10 million MACs on, with GELU or without, for 8 to 768 channels and 1 to 56 positions a side.
_WORTH_ONEDNN = 8_000_000


class FusedPointwise(nn.Conv2d):
    """A 1×1 convolution's function, to rounding, with the same keys.

    torch gives float32 products to MKL; oneDNN, whose product torch has but calls only for lower precision, is up to
    1.2 times as fast on an AMD CPU, adds the bias without a pass of its own and applies GELU while the values are at
    hand: 1.14 to 1.20 times over an MLP of SCSC-Swin-T (torch 2.13, AVX-512, one thread). Small products stay a
    convolution, which costs less to call.

    Args:
        conv: the convolution to take weights from: 1×1, stride 1, one group. They are shared.
        activation: whether GELU follows.
    """

    def __init__(self, conv: nn.Conv2d, *, activation: bool = False) -> None:
        has_bias = conv.bias is not None
        super().__init__(conv.in_channels, conv.out_channels, 1, bias=has_bias, device="meta")
        self.weight, self.bias = conv.weight, conv.bias
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Return the map, ``(N, in_channels, H, W)`` to ``(N, out_channels, H, W)``."""
        if not _onednn_takes(x, self.weight):
            y = super().forward(x)
            return gelu(y) if self.activation else y
        positions, weight = x.permute(0, 2, 3, 1), self.weight.flatten(1)
        post = "gelu" if self.activation else "none"
        product: Tensor = torch.ops.mkldnn._linear_pointwise(positions, weight, self.bias, post, [], "none")
        return product.permute(0, 3, 1, 2)


def _onednn_takes(x: Tensor, weight: Tensor) -> bool:
    """Return whether oneDNN's product, which has no gradients and runs nowhere else, can stand for it and pays."""
    return (
        not is_traced()  # sizes are no numbers then
        and x.numel() * weight.shape[0] >= _WORTH_ONEDNN
        and type(x) is Tensor
        and x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
    )
