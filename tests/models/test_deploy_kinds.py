"""Every kind of layer takes in the BatchNorm behind it; timm's BatchNorm keeps its activation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scsc_lab.models.deploy import deploy

LAYERS = {
    "linear": (lambda: nn.Linear(6, 8), nn.BatchNorm1d, (4, 6)),
    "1-D": (lambda: nn.Conv1d(6, 8, 3, groups=2), nn.BatchNorm1d, (2, 6, 12)),
    "3-D": (lambda: nn.Conv3d(6, 8, 3, bias=False), nn.BatchNorm3d, (2, 6, 5, 6, 7)),
    "transposed": (lambda: nn.ConvTranspose2d(6, 8, 3, stride=2), nn.BatchNorm2d, (2, 6, 8, 8)),
    "transposed in groups": (lambda: nn.ConvTranspose2d(6, 8, 3, groups=2), nn.BatchNorm2d, (2, 6, 8, 8)),
    "transposed 1-D": (lambda: nn.ConvTranspose1d(6, 8, 3, groups=2), nn.BatchNorm1d, (2, 6, 8)),
    "transposed 3-D": (lambda: nn.ConvTranspose3d(6, 8, 3), nn.BatchNorm3d, (2, 6, 4, 4, 4)),
}


def norms(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_takes_in_the_batchnorm_behind_it(name):
    layer, norm, shape = LAYERS[name]
    model = nn.Sequential(layer(), norm(8), nn.ReLU()).double()
    model(3 + torch.randn(shape, dtype=torch.float64))  # statistics of its own
    fast = deploy(model, shape)
    assert not norms(fast)
    x = torch.randn(shape, dtype=torch.float64)
    assert torch.allclose(fast(x), model.eval()(x), rtol=1e-10, atol=1e-12)


def test_a_norm_over_tokens_stays_behind_a_linear_layer():
    """BatchNorm1d over (N, L, C) normalises tokens, not the channels that the layer gives."""

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm = nn.Linear(6, 8), nn.BatchNorm1d(8)
            self.second, self.other = nn.Linear(8, 8), nn.BatchNorm1d(8)

        def forward(self, x):
            return self.other(self.second(self.norm(self.first(x)).mean(1)))

    model = Tokens()
    model(torch.randn(2, 8, 6))
    fast = deploy(model, (2, 8, 6))
    assert len(norms(fast)) == 1
    x = torch.randn(2, 8, 6)
    assert torch.allclose(fast(x), model.eval()(x), atol=1e-6)


TIMM = {
    "mobilenetv3_small_050": {},
    "regnetx_002": {"depth": 7},
    "resnet18d": {"layers": (1, 1, 1, 1)},
    "densenet121": {"growth_rate": 8, "block_config": (2, 2, 2, 2)},
}


@pytest.mark.parametrize("name", TIMM)
def test_timms_batchnorm_keeps_its_activation(name):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=5, **TIMM[name])
    with torch.no_grad():
        model.train()(torch.randn(4, 3, 64, 64))
    fast = deploy(model, (1, 3, 48, 32))
    assert len(norms(model)) > 10
    assert bool(norms(fast)) == (name == "densenet121")  # whose norms of joined maps stand before their layers
    assert len(norms(fast)) < len(norms(model))
    x = torch.randn(2, 3, 48, 32)
    expected = model.eval()(x)
    assert torch.allclose(fast(x), expected, atol=1e-4 * float(expected.detach().abs().max()))


def test_a_subclass_of_timms_batchnorm_is_left_alone():
    layers = pytest.importorskip("timm.layers")

    class Doubled(layers.BatchNormAct2d):
        def forward(self, x):
            return 2 * super().forward(x)

    model = nn.Sequential(nn.Conv2d(3, 8, 3), Doubled(8), nn.Conv2d(8, 8, 3), layers.BatchNormAct2d(8))
    model(torch.randn(2, 3, 16, 16))
    fast = deploy(model, (1, 3, 16, 16))
    assert [type(norm) for norm in norms(fast)] == [Doubled]
    x = torch.randn(1, 3, 16, 16)
    assert torch.allclose(fast(x), model.eval()(x), atol=1e-5)
