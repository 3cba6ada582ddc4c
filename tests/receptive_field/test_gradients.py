"""Gradients by oneDNN's products against torch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scsc_lab.execution.layout import find
from scsc_lab.receptive_field.gradients import Target, gradient_maps


class Weight(Tensor):
    """A weight of a class of its own."""


class Products(nn.Module):
    """Every kind of product: linear layers, 1×1 convolutions, weights and biases of its own making, under vmap."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 2, 2)
        self.plain, self.strided = nn.Conv2d(16, 24, 1), nn.Conv2d(24, 24, 1, 2, bias=False)
        self.rim, self.grouped = nn.Conv2d(24, 24, 1, padding=1), nn.Conv2d(24, 24, 1, groups=4)
        self.linear, self.head = nn.Linear(24, 40), nn.Linear(40, 8, bias=False)
        self.inner, self.other = nn.Linear(40, 40), nn.Parameter(torch.randn(40, 40).as_subclass(Weight) / 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.grouped(self.rim(self.strided(torch.tanh(self.plain(self.patches(x))))))
        tokens = self.linear(x.permute(0, 2, 3, 1))
        energy = F.linear(tokens, tokens.mean((0, 1, 2))[None].expand(3, -1)).square().sum()
        (slope,) = torch.autograd.grad(energy, tokens, create_graph=True)
        tokens = torch.func.vmap(self.inner)(F.gelu(tokens + slope))
        tokens = F.linear(tokens, self.inner.weight, tokens.square().mean((0, 1, 2)))
        return self.head(F.linear(tokens, self.other))


@pytest.mark.parametrize("precise", [False, True], ids=["float32", "float64"])
def test_products_by_onednn_have_torchs_gradients(precise):
    torch.manual_seed(0)
    model = Products().double() if precise else Products()
    images = np.random.default_rng(0).standard_normal((3, 3, 24, 24)).astype(np.float32)
    places = np.array([[[2, 3]], [[0, 0]], [[5, 1]]])
    target = Target("head", find((1, 8, 8, 8), (24, 24), "head", "nhwc"), places)
    (maps,) = gradient_maps(model, images, [target], batch=1)
    for image, field, ((row, column),) in zip(images, maps, places, strict=True):
        x = torch.from_numpy(image[None]).to(next(model.parameters()).dtype).requires_grad_(True)
        with torch.enable_grad():
            model(x)[0, row, column].sum().backward()
        contributions = x.grad[0].abs().sum(0).double().numpy()
        assert np.allclose(field[0], contributions, atol=1e-5 * contributions.max())
    assert all(parameter.requires_grad for parameter in model.parameters())
