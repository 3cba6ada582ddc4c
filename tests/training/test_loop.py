"""The loop: deterministic, resumed to the bit, one loss whatever the processes, and diverged where it is."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import math
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from small import RECIPE, batches, built, data
from torch import nn

from scsc_lab import InputError
from scsc_lab.training.batches import Shard
from scsc_lab.training.checkpoint import Trained, is_judged
from scsc_lab.training.data import InMemory
from scsc_lab.training.loop import learning_rate, make_optimizer, train
from scsc_lab.training.plan import Input, Plan
from scsc_lab.training.recipes import Recipe
from scsc_lab.training.run import run
from scsc_lab.training.tasks import classification


def trained(recipe: Recipe = RECIPE, model: nn.Module | None = None, seed: int = 0, **options) -> Trained:
    goal = classification(data(), recipe, seed)
    return train(model or built(seed), goal.objective(2), batches(recipe, seed), goal.judge, **options)


def numbers(run: Trained) -> list[tuple[float, dict[str, float]]]:
    return [(epoch.loss, epoch.accuracy) for epoch in run.curve]


def test_it_learns_and_is_repeated_to_the_bit():
    one, two = trained(dataclasses.replace(RECIPE, epochs=8)), trained(dataclasses.replace(RECIPE, epochs=8))
    assert one.status == "complete"
    assert one.curve[-1].accuracy["accuracy"] > 90
    assert one.curve[-1].loss < one.curve[0].loss
    assert numbers(one) == numbers(two)
    assert np.array_equal(one.outputs, two.outputs)
    assert numbers(trained(seed=1)) != numbers(trained(seed=0))


def test_the_accuracy_in_training_is_that_of_training_images(monkeypatch):
    halves = data()  # the test has the very images of training
    inverted = InMemory(halves.test.images, 1 - halves.test.labels)
    for test, right in ((halves.test, lambda accuracy: accuracy), (inverted, lambda accuracy: 100 - accuracy)):
        whole = dataclasses.replace(halves, test=test)
        monkeypatch.setattr("scsc_lab.training.data.registry.load", lambda *_, whole=whole: whole)
        _, _, row = run(built, Input((8, 8)), Plan("halves", RECIPE), 0)
        assert row["training_loss"] == row["curve"][-1]["loss"]
        assert row["accuracy_in_training"] == pytest.approx(right(row["accuracy"]))


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_resumed_run_ends_with_the_same_numbers(stop_after, tmp_path):
    whole_model, checkpoint = built(), tmp_path / "run.pth"
    whole = trained(model=whole_model)

    class StopError(Exception):
        pass

    def report(step, *others):
        if step == stop_after * 5:  # five steps an epoch: after its last step, before it is evaluated and kept
            raise StopError

    with pytest.raises(StopError):
        trained(checkpoint=checkpoint, report=report)
    torch.manual_seed(123)  # whatever was drawn meanwhile
    model = built(seed=9)
    resumed = trained(model=model, checkpoint=checkpoint) if stop_after > 1 else trained(checkpoint=checkpoint)
    assert numbers(resumed) == numbers(whole)
    if stop_after > 1:
        for own, others in zip(model.state_dict().values(), whole_model.state_dict().values(), strict=True):
            assert torch.equal(own, others)


def test_a_finished_run_is_not_repeated(tmp_path):
    checkpoint = tmp_path / "run.pth"
    first = trained(checkpoint=checkpoint)
    steps = []
    again = trained(checkpoint=checkpoint, report=lambda *args: steps.append(args))
    assert steps == []
    assert numbers(again) == numbers(first)
    assert np.array_equal(again.outputs, first.outputs)


def sealed(state) -> bytes:
    """Return the content of a checkpoint whose digest is right."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue()


def damaged(content: bytes) -> dict[str, bytes]:
    """Return contents that are no checkpoint of the run that a content is of."""
    state = torch.load(io.BytesIO(content[32:]))
    first = next(iter(state["model"]))
    another = {**state["model"], first: torch.full_like(state["model"][first], math.nan)}
    changes = {"curve": [1], "status": "x", "outputs": 5, "model": {}, "objective": None, "images_per_second": "x"}
    return {
        "torn": content[:-1],
        "flipped": content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
        "empty": b"",
        "text": b"nothing",
        "list": sealed([1]),
        "not finite": sealed({**state, "model": another}),
        "missing": sealed({key: value for key, value in state.items() if key != "curve"}),
        **{key: sealed({**state, key: value}) for key, value in changes.items()},
        "optimizer": sealed({**state, "optimizer": [1]}),
        "no loss": sealed({**state, "curve": [{**state["curve"][0], "loss": "x"}, *state["curve"][1:]]}),
        "no first epoch": sealed({**state, "curve": state["curve"][1:]}),
        "too large": sealed({**state, "images_per_second": 10**400}),
    }


def test_a_damaged_checkpoint_starts_the_run_anew(tmp_path, capsys):
    checkpoint = tmp_path / "run.pth"
    whole = numbers(trained(checkpoint=checkpoint))
    contents = damaged(checkpoint.read_bytes())
    for name, content in contents.items():
        for role in ("checkpoint", "trunk"):
            checkpoint.write_bytes(content)
            assert numbers(trained(**{role: checkpoint})) == whole, name
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= len(contents)
    assert all("starts this run anew" in line for line in lines)


def test_another_networks_checkpoint_is_left_alone(tmp_path, capsys):
    checkpoint = tmp_path / "run.pth"
    trained(checkpoint=checkpoint)
    other = [nn.Sequential(nn.Flatten(), nn.Linear(192, 2)) for _ in range(2)]
    other[1].load_state_dict(other[0].state_dict())
    assert numbers(trained(model=other[0], checkpoint=checkpoint)) == numbers(trained(model=other[1]))
    assert "its weights are another network's" in capsys.readouterr().err


SCRIPT = """
import sys
from pathlib import Path
import time
import torch
torch.set_num_threads(1)
from small import built
from test_loop import trained
def report(step, *others):
    print(step, flush=True)
    time.sleep(0.02)
trained(model=built(), checkpoint=Path(sys.argv[1]), report=report)
"""


@pytest.mark.parametrize("moment", [2, 12])
def test_a_killed_run_goes_on(moment, tmp_path):
    environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "run.pth")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.strip() == str(moment):
                process.send_signal(signal.SIGKILL)
                break
    steps = []
    run = trained(checkpoint=tmp_path / "run.pth", report=lambda step, *others: steps.append(step))
    assert numbers(run) == numbers(trained())
    assert steps[0] == 1 + 5 * ((moment - 1) // 5)  # from the last finished epoch on


def test_workers_and_the_layout_of_batches_change_no_image():
    recipe = dataclasses.replace(RECIPE, erase=0.5)

    def images(**options) -> list[bytes]:
        steps = batches(**options).training(1)
        return sorted(image.numpy().tobytes() for raw, _ in steps for image in raw)

    one = images(recipe=recipe)
    assert one == images(recipe=recipe, workers=2)
    assert one == images(recipe=dataclasses.replace(recipe, batch_size=20))
    halves = [batches(recipe, shard=Shard(rank, 2)).training(1) for rank in (0, 1)]
    assert one == sorted(image.numpy().tobytes() for half in halves for raw, _ in half for image in raw)


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_its_curve():
    class Breaking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.steps = built(), 0

        def forward(self, x):
            self.steps += self.training
            return self.model(x) * (math.inf if self.steps > 7 else 1)

    run = trained(model=Breaking())
    assert (run.status, len(run.curve)) == ("diverged", 1)


def test_the_learning_rate_warms_up_and_falls():
    cosine = dataclasses.replace(RECIPE, epochs=10, warmup_epochs=2, lr=1.0)
    rates = [learning_rate(cosine, step, 10) for step in range(100)]
    assert rates[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert rates[60] == pytest.approx(0.5)
    assert 0 < rates[99] < 0.01
    steps = dataclasses.replace(RECIPE, epochs=90, schedule="step", lr=0.1)
    assert [learning_rate(steps, 10 * epoch, 10) for epoch in (0, 29, 30, 60, 89)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.001, 0.001]
    )


BUDGETS = dataclasses.replace(RECIPE, epochs=8, schedule="constant", cooldown=0.3, warmup_epochs=1)


def test_the_rate_is_constant_until_the_cool_down_which_ends_at_zero():
    recipe = dataclasses.replace(BUDGETS, epochs=10, lr=1.0)
    rates = [learning_rate(recipe, step, 10) for step in range(101)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10:71] == [1.0] * 61
    assert rates[71:] == pytest.approx([1 - math.sqrt((step - 70) / 30) for step in range(71, 101)])
    with pytest.raises(InputError, match="warmup_epochs=8: must end before the cool-down"):
        dataclasses.replace(recipe, warmup_epochs=8)


def test_a_cooled_down_branch_is_a_run_of_that_budget_to_the_bit(tmp_path):
    """Runs of 2, 5 and 8 epochs that share their trunk, in any order, equal runs that share nothing."""
    pytest.importorskip("timm")  # whose mixup it is
    recipes = [dataclasses.replace(BUDGETS, epochs=epochs, mixup=0.5) for epochs in (2, 5, 8)]
    alone, shared, steps = [], [], []
    for recipe in recipes:
        model = built()
        alone.append((numbers(trained(recipe, model)), [tensor.clone() for tensor in model.state_dict().values()]))
    for recipe in (*recipes, recipes[1]):  # the last finds a trunk that is beyond its own cool-down
        model, begun = built(seed=3 if shared else 0), []  # weights come from the trunk
        trunk = tmp_path / "trunk.pth"
        if len(shared) == 3:
            model = built()
        run = trained(recipe, model, trunk=trunk, report=lambda step, *others, begun=begun: begun.append(step))
        shared.append((numbers(run), list(model.state_dict().values())))
        steps.append(begun[0])
    assert steps == [1, 1 + 5 * 1, 1 + 5 * 3, 1]  # cool-downs begin at 1.4, 3.5 and 5.6 epochs
    for one, other in zip([*alone, alone[1]], shared, strict=True):
        assert one[0] == other[0]
        assert all(torch.equal(*pair) for pair in zip(one[1], other[1], strict=True))


def test_which_epochs_are_judged_depends_on_the_length_only_in_the_last():
    assert [epoch for epoch in range(1, 37) if is_judged(epoch, 35)] == [
        *range(1, 8), 8, 10, 12, 14, 16, 20, 24, 28, 32, 35,
    ]  # fmt: skip
    run = trained(dataclasses.replace(RECIPE, epochs=9))
    assert [bool(epoch.accuracy) for epoch in run.curve] == [True] * 9
    run = trained(dataclasses.replace(RECIPE, epochs=10))
    assert [bool(epoch.accuracy) for epoch in run.curve] == [True] * 8 + [False, True]


def test_norms_and_biases_do_not_decay_unless_told():
    def decays(recipe):
        groups = make_optimizer(built(), nn.Identity(), recipe).param_groups
        return [(len(group["params"]), group["weight_decay"]) for group in groups]

    recipe = dataclasses.replace(RECIPE, weight_decay=0.1)
    assert decays(recipe) == [(2, 0.1), (4, 0.0)]
    assert decays(dataclasses.replace(recipe, decay_norms=True)) == [(6, 0.1)]
    pytest.importorskip("timm")
    assert (
        type(make_optimizer(built(), nn.Identity(), dataclasses.replace(recipe, optimizer="lamb"))).__name__ == "Lamb"
    )


def test_the_share_of_time_spent_waiting_is_told(monkeypatch):
    import small

    class Slow:
        labels = data().train.labels

        def image(self, index):
            time.sleep(0.01)
            return data().train.images[index]

    slow = dataclasses.replace(data(), train=Slow())
    monkeypatch.setattr(small, "data", lambda: slow)
    goal = classification(slow, RECIPE, 0)
    run = train(built(), goal.objective(2), batches(of=slow), goal.judge)
    assert all(0.5 < epoch.waiting < 1 for epoch in run.curve)


def test_too_few_images_for_a_batch():
    with pytest.raises(InputError, match="lower --batch-size"):
        batches(dataclasses.replace(RECIPE, batch_size=64)).check()


def test_images_per_second_are_all_images_over_all_time(monkeypatch):
    now = [0.0]

    def tick() -> float:
        now[0] += 1e-9
        return now[0]

    def slower_in_the_second_epoch(step, steps, loss, rate, waiting):
        now[0] += 1.0 if step <= steps // 2 else 3.0

    monkeypatch.setattr("scsc_lab.training.loop.time", types.SimpleNamespace(perf_counter=tick))
    recipe = dataclasses.replace(RECIPE, epochs=2)
    speed = trained(recipe, report=slower_in_the_second_epoch).images_per_second
    assert speed == pytest.approx(recipe.batch_size / 2, rel=1e-5)
