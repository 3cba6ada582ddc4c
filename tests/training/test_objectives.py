"""Objectives: closed forms, and the margins against pytorch-metric-learning."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from scsc_lab.training.tasks import MarginLoss, SummedCrossEntropy


def test_the_tasks_cross_entropies_are_summed():
    outputs, labels = torch.zeros(4, 20), torch.zeros(4, 2, dtype=torch.int64)
    assert SummedCrossEntropy((10, 10))(outputs, labels).item() == pytest.approx(2 * math.log(10))
    outputs, labels = torch.randn(4, 5), torch.tensor([[0, 1], [1, 0], [0, 0], [1, 2]])
    expected = F.cross_entropy(outputs[:, :2], labels[:, 0]) + F.cross_entropy(outputs[:, 2:], labels[:, 1])
    torch.testing.assert_close(SummedCrossEntropy((2, 3))(outputs, labels), expected)


@pytest.mark.parametrize(("kind", "margin"), [("arcface", 0.5), ("cosface", 0.35)])
def test_margins_are_those_of_pytorch_metric_learning(kind, margin):
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    own = MarginLoss(16, 7, kind, margin, scale=30.0)
    if kind == "arcface":
        peer = losses.ArcFaceLoss(7, 16, margin=math.degrees(margin), scale=30.0)
    else:
        peer = losses.CosFaceLoss(7, 16, margin=margin, scale=30.0)
    peer.W.data = own.weight.data.t().clone()
    embeddings, labels = torch.randn(32, 16, requires_grad=True), torch.randint(7, (32,))
    one, two = own(embeddings, labels[:, None]), peer(embeddings, labels)
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)
    gradients = (torch.autograd.grad(loss, embeddings)[0] for loss in (one, two))
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)


def test_arcface_stays_monotonic_where_the_angle_passes_pi():
    loss = MarginLoss(2, 2, "arcface", 0.5)
    cosines = torch.linspace(-1, 1, 200)[:, None]
    margins = loss._with_margin(cosines.clamp(-1 + 1e-6, 1 - 1e-6))
    assert (margins.diff(dim=0) > 0).all()
    assert (margins < cosines).all()


def test_margins_are_taken_in_float32():
    loss = MarginLoss(16, 7)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(torch.randn(4, 16, dtype=torch.bfloat16), torch.zeros(4, 1, dtype=torch.int64))
    assert found.dtype == torch.float32
