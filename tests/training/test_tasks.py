"""Tasks: what is judged, and heads that are replaced."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from small import RECIPE, batches, built, data
from torch import nn

from scsc_lab import InputError
from scsc_lab.training.batches import Shard
from scsc_lab.training.data import Data, InMemory, Task
from scsc_lab.training.run import Input, Plan, run
from scsc_lab.training.tasks import correct, fitted, goal, not_finite


def test_all_tasks_must_be_right_for_an_image_to_be_right():
    labels = np.array([[0, 1], [1, 0], [0, 2], [1, 2]])
    split = InMemory(np.zeros((4, 3, 8, 8), np.uint8), labels)
    both = Data("both", (Task("one", ("a", "b")), Task("two", ("c", "d", "e"))), split, split)
    outputs = np.zeros((4, 5), dtype=np.float32)
    outputs[np.arange(4), labels[:, 0]] = 1
    outputs[np.arange(4), 2 + labels[:, 1]] = 1
    outputs[0, :2] = (0, 1)
    outputs[1, 4] = 2
    found = goal("classification", both, RECIPE, 0).judge(outputs)
    assert found == {"accuracy": 50.0, "one_accuracy": 75.0, "two_accuracy": 75.0}
    assert correct(outputs, both, top=2)[:, 0].all()
    assert not correct(np.full((4, 5), np.nan, dtype=np.float32), both).any()


def test_a_task_needs_its_data():
    with pytest.raises(InputError, match="--task verification: halves is data for classification"):
        goal("verification", data(), RECIPE, 0)
    with pytest.raises(InputError, match="--task classification: faces is data for verification"):
        goal("classification", _open(), RECIPE, 0)


def _open() -> Data:
    return Data("faces", data().tasks, data().train, data().test, open_set=True)


@pytest.mark.parametrize("outputs", [2, 3])
def test_a_head_of_another_size_is_replaced_and_said(outputs):
    model = built()
    said = fitted(model, outputs, (8, 8))
    assert bool(said) == (outputs != 2)
    assert model(torch.zeros(1, 3, 8, 8)).shape == (1, outputs)
    if said:
        assert said == "its head of 2 outputs was replaced by a new one of 3"


def test_timms_heads_are_replaced_by_timm():
    timm = pytest.importorskip("timm")
    model = timm.create_model("resnet10t", pretrained=False)
    fitted(model, 7, (32, 32))
    assert model.num_classes == 7


def test_a_network_without_a_head():
    with pytest.raises(InputError, match="no linear head"):
        fitted(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 2, (8, 8))
    with pytest.raises(InputError, match="cannot be replaced"):
        fitted(nn.Conv2d(3, 4, 1), 2, (8, 8))


@pytest.mark.parametrize(("name", "task"), [("navon", "classification"), ("faces", "verification")])
def test_a_run_gives_a_row(name, task):
    model = nn.Sequential(nn.Conv2d(3, 8, 8, stride=8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 16))
    recipe = RECIPE
    plan = Plan(name, recipe, task=task, recipe_name="test", train_images=40, test_images=200)
    _, trained, row = run(lambda: model, Input((64, 64)), plan, seed=3)
    assert (row["seed"], row["epochs"], row["train_images"], row["status"]) == (3, 3, 40, "complete")
    assert 0 <= row["accuracy"] <= 100
    assert len(row["curve"]) == 3
    assert row["curve"][-1]["accuracy"]["accuracy"] == row["accuracy"]
    assert ("local_accuracy" in row) == (name == "navon")
    assert not trained.training


def test_of_equal_outputs_the_first_class_counts():
    tied = np.zeros((40, 2), dtype=np.float32)
    assert np.array_equal(correct(tied, data())[:, 0], data().test.labels[:, 0] == 0)
    assert correct(tied, data(), top=2).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_not_finite_have_no_accuracy(value):
    outputs = np.zeros((40, 2), dtype=np.float32)
    assert goal("classification", data(), RECIPE, 0).judge(outputs)["accuracy"] is not None
    outputs[3, 1] = value
    assert goal("classification", data(), RECIPE, 0).judge(outputs) == {"accuracy": None}
    assert not_finite(outputs) == 1


class Several(nn.Module):
    """Several heads, in training only or always, as googlenet's and inception's."""

    def __init__(self, always: bool) -> None:
        super().__init__()
        self.one = built()
        self.always = always

    def forward(self, x):
        return (self.one(x), self.one(x)) if self.training or self.always else self.one(x)


@pytest.mark.parametrize("always", [True, False])
@pytest.mark.parametrize("task", ["classification", "verification"])
def test_several_outputs_are_refused(task, always):
    plan = Plan("faces" if task == "verification" else "navon", RECIPE, task, train_images=40, test_images=200)
    with pytest.raises(InputError, match="the network returns a tuple, not one tensor of outputs"):
        run(lambda: Several(always), Input((8, 8)), dataclasses.replace(plan, size=(8, 8)), seed=0)


def test_an_odd_batch_cannot_be_mixed():
    for batch_size, world in ((9, 1), (6, 2)):
        recipe = dataclasses.replace(RECIPE, mixup=0.2, batch_size=batch_size)
        with pytest.raises(InputError, match=f"--batch-size {batch_size} must give an even number"):
            batches(recipe, shard=Shard(0, world)).check()
    batches(dataclasses.replace(RECIPE, cutmix=1.0), shard=Shard(0, 2)).check()


def test_embeddings_may_be_maps():
    model = nn.Conv2d(3, 4, 8, stride=8)
    plan = Plan("faces", RECIPE, "verification", train_images=40, test_images=200)
    _, _, row = run(lambda: model, Input((64, 64)), plan, seed=0)
    assert row["accuracy"] is not None


@pytest.mark.parametrize("is_random", [True, False])
def test_weights_that_are_not_random_are_left_as_they_are(is_random):
    class Block(nn.Linear):
        def zero_init_last(self):
            nn.init.zeros_(self.weight)

    model = nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), Block(48, 48), nn.Linear(48, 20))
    before = model[2].weight.detach().clone()
    recipe = dataclasses.replace(RECIPE, zero_init=True, lr=1e-9, epochs=1)
    plan = Plan("navon", recipe, train_images=40, test_images=200)
    run(lambda: model, Input((64, 64), is_random=is_random), plan, seed=0)
    expected = torch.zeros_like(before) if is_random else before
    torch.testing.assert_close(model[2].weight, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["resnet_pico", "scsc_resnet_pico", "resnet18"])
def test_residual_blocks_start_as_their_shortcuts_and_gradients_below_the_clip(name):
    from scsc_lab.models import build
    from scsc_lab.networks.network import Network
    from scsc_lab.training.run import start_from_shortcuts

    torch.manual_seed(0)
    model = build.build(Network.read(name)).train()
    start_from_shortcuts(model)
    blocks = [block for block in model.modules() if hasattr(block, "downsample")]
    assert len(blocks) > 7
    last = blocks[-1]
    features = torch.rand(2, model.fc.in_features, 4, 4)  # as after a ReLU
    torch.testing.assert_close(last(features), features)
    outputs = model(torch.randn(16, 3, 64, 64))
    torch.nn.functional.cross_entropy(outputs, torch.arange(16)).backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    assert norm < 10  # 100 to 200 with blocks that start at full strength: each step is then the clip's
