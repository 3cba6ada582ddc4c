"""RepLKNet's published algorithm against a transcription of its formulas, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import scsc_lab
from scsc_lab.analysis import figures_of_merit
from scsc_lab.analysis.figures_of_merit import replknet_figures
from scsc_lab.receptive_field.images import synthetic


def naive_log_map(contributions):
    height, width = len(contributions), len(contributions[0])
    logarithms = [[math.log10(contributions[i][j] + 1) for j in range(width)] for i in range(height)]
    largest = max(max(row) for row in logarithms)
    return [[value / largest for value in row] for row in logarithms]


def naive_area(image, threshold):
    height, width = len(image), len(image[0])
    total = sum(map(sum, image))
    for i in range(1, height // 2):
        rows = image[height // 2 - i : height // 2 + 1 + i]
        inside = sum(sum(row[max(width // 2 - i, 0) : width // 2 + 1 + i]) for row in rows)
        if inside / total > threshold:
            return (2 * i + 1) / height * (2 * i + 1) / width
    return None


@pytest.mark.parametrize("shape", [(16, 16), (21, 21), (24, 30)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_squares_of_random_maps(shape, scale):
    contributions = np.random.default_rng(shape[0]).random(shape) ** 6 * scale
    expected = naive_log_map(contributions.tolist())
    image = figures_of_merit.log_map(contributions)
    assert np.allclose(image, expected, rtol=1e-12)
    for threshold in (0.2, 0.3, 0.5, 0.99):
        share = naive_area(expected, threshold)
        assert figures_of_merit.area_share(image, threshold) == (share and pytest.approx(share, rel=1e-12))


def test_a_square_that_never_holds_enough_is_none():
    image = np.zeros((16, 16))
    image[0, 0], image[8, 8] = 1.0, 0.001
    assert naive_area(image.tolist(), 0.5) is None
    assert figures_of_merit.area_share(image, 0.5) is None
    assert replknet_figures(image)["r50"] is None


def test_maps_of_a_network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 5, 2, 2), nn.BatchNorm2d(8), nn.GELU(), nn.Conv2d(8, 6, 3, 2, 1)).eval()
    (field,) = scsc_lab.erf(model, 32, layer="3", samples=5, method="replknet", batch=2)
    pictures = synthetic(5, (32, 32), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 0).pixels
    total = np.zeros((32, 32))
    for picture in pictures:
        x = torch.from_numpy(picture[None]).requires_grad_(True)
        out = model(x)
        unit = torch.relu(out[:, :, out.shape[2] // 2, out.shape[3] // 2]).sum()
        grad = torch.autograd.grad(unit, x)[0]
        total += torch.relu(grad).sum((0, 1)).numpy()
    expected = total / 5
    assert np.allclose(field.map, expected, rtol=1e-5, atol=1e-9 * expected.max())
    log_map = naive_log_map(expected.tolist())
    assert field.figures()["r50"] == pytest.approx(naive_area(log_map, 0.5))
    assert (field.setting.contribution, field.setting.units) == ("relu", 1)


def test_the_contribution_is_its_own():
    with pytest.raises(scsc_lab.InputError, match="replknet drops negative gradients"):
        scsc_lab.erf("resnet18", 64, method="replknet", contribution="signed")
