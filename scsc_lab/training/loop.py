"""The training loop: one network, one seed, plain torch. Everything it decides is in its arguments."""

from __future__ import annotations

import io
import math
import pickle
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from scsc_lab import store
from scsc_lab.errors import InputError, first_line
from scsc_lab.training.batches import Batches
from scsc_lab.training.draws import Purpose, torch_seed
from scsc_lab.training.mixing import Mixing
from scsc_lab.training.recipes import Recipe


@dataclass(frozen=True)
class Epoch:
    """What one epoch of training gave.

    Attributes:
        epoch: its number, from 1.
        loss: mean training loss over its steps.
        accuracy: what the judge says of the network on the test images after it, by name, in percent.
        seconds: time it took, evaluation included.
        waiting: share of its training time in which the network waited for data.
    """

    epoch: int
    loss: float
    accuracy: dict[str, float | None]
    seconds: float
    waiting: float


@dataclass
class Trained:
    """A finished run.

    Attributes:
        status: ``complete``, or ``diverged`` if a loss was not finite.
        curve: every epoch; of a diverged run those that were finished.
        images_per_second: training images over training time, evaluation left out.
        outputs: outputs of the network for every test image at the end, ``(images, outputs)``.
    """

    status: Literal["complete", "diverged"] = "complete"
    curve: list[Epoch] = field(default_factory=list)
    images_per_second: float = 0.0
    outputs: npt.NDArray[np.float32] | None = None

    @property
    def seconds(self) -> float:
        """Time of all epochs."""
        return sum(epoch.seconds for epoch in self.curve)


Judge = Callable[[npt.NDArray[np.float32]], dict[str, float | None]]
"""Returns accuracies in percent, by name, from the outputs for every test image in order; None if any is not finite."""

Report = Callable[[int, int, float, float, float], None]
"""Called after a step: its number from the start, the run's steps, its loss, images a second, share of time waiting."""


def train(
    network: nn.Module,
    objective: nn.Module,
    batches: Batches,
    judge: Judge,
    *,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    report: Report | None = None,
) -> Trained:
    """Train a network by a recipe and judge it after every epoch; the last one counts.

    Args:
        network: changed in place; in evaluation mode afterwards. Under ``torch.distributed`` it is spread over the
            processes, each of which takes its shard of every batch; batch statistics are shared on CUDA only.
        objective: the loss of outputs and labels; its own parameters are trained too.
        batches: data, recipe and seed.
        judge: says how good the outputs for the test images are.
        device: where to train.
        checkpoint: file that is rewritten whole after every epoch, and gone on from if it exists. On one CPU thread
            a run that goes on ends with the same numbers as one that was never stopped.
        report: called after every step.

    Raises:
        InputError: if the checkpoint is another run's.
    """
    batches.check()
    device = torch.device(device)
    recipe = batches.recipe
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective.to(device)
    optimizer = make_optimizer(network, objective, recipe)
    mixing = Mixing.of(recipe, batches)
    run = Trained()
    if checkpoint is not None and checkpoint.exists():
        _restore(checkpoint, network, objective, optimizer, run)
    loss_of = _spread(_Loss(network, objective), device)
    step = len(run.curve) * batches.steps
    for epoch in range(len(run.curve), recipe.epochs):
        if run.status == "diverged":
            break
        started = time.perf_counter()
        # What the network draws itself, for drop-path and dropout: keyed by epoch, so that a resume changes nothing.
        torch.manual_seed(torch_seed(batches.seed, Purpose.NETWORK, epoch + 1, batches.shard.rank))
        loss_of.train()
        total, waited, seen, precision = 0.0, 0.0, 0, _precision(recipe, device)
        asked = time.perf_counter()
        for index, (raw, labels) in enumerate(batches.training(epoch)):
            images = normalised(raw, batches, device)
            waited += time.perf_counter() - asked
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, step, batches.steps)
            images, targets = mixing(images, labels.to(device, non_blocking=True), epoch, index)
            with precision.context():
                loss = loss_of(images, targets)
            optimizer.zero_grad(set_to_none=True)
            precision.backward(loss, optimizer, [*network.parameters(), *objective.parameters()], recipe.clip)
            value = _over_processes(loss.detach())
            step, seen, total = step + 1, seen + len(raw), total + value
            if not math.isfinite(value):
                run.status = "diverged"
                break
            asked = time.perf_counter()
            if report is not None:
                report(step, recipe.epochs * batches.steps, value, seen / (asked - started), waited / (asked - started))
        if run.status == "diverged":
            break
        training_time = time.perf_counter() - started
        run.images_per_second += (seen * batches.shard.world / training_time - run.images_per_second) / (epoch + 1)
        run.outputs = outputs(network, batches, device)
        seconds = time.perf_counter() - started
        share = waited / training_time
        run.curve.append(Epoch(epoch + 1, total / batches.steps, judge(run.outputs), seconds, share))
        if not np.isfinite(run.outputs).all() or not all(torch.isfinite(p).all() for p in network.parameters()):
            run.status = "diverged"
        if checkpoint is not None and batches.shard.rank == 0:
            _save(checkpoint, network, objective, optimizer if epoch + 1 < recipe.epochs else None, run)
    if run.outputs is None and run.status == "complete":
        run.outputs = outputs(network, batches, device)
    network.eval()
    return run


def outputs(network: nn.Module, batches: Batches, device: torch.device | str) -> npt.NDArray[np.float32]:
    """Return the outputs of a network in evaluation mode for every test image in order, ``(images, outputs)``."""
    network.eval()
    with torch.no_grad():
        found = [network(normalised(raw, batches, device)).float().cpu() for raw, _ in batches.test()]
    return torch.cat(found).numpy()


def normalised(raw: Tensor, batches: Batches, device: torch.device | str) -> Tensor:
    """Return images of values 0 to 255 as normalised inputs, channels-last, on the device."""
    prepared = batches.preparation
    mean, std = (torch.tensor(value, device=device).view(-1, 1, 1) for value in (prepared.mean, prepared.std))
    images = raw.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
    return (images.float() / 255 - mean) / std


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of a step, counted from 0 over all epochs."""
    warmup, last = recipe.warmup_epochs * steps_per_epoch, recipe.epochs * steps_per_epoch
    if step < warmup:
        return recipe.lr * (step + 1) / warmup if warmup > 1 else recipe.lr
    if recipe.schedule == "step":
        return recipe.lr * 0.1 ** (3 * (step // steps_per_epoch) // recipe.epochs)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (last - warmup)))


def make_optimizer(network: nn.Module, objective: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimizer; norms, biases and position biases do not decay unless the recipe says so."""
    decaying: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in (*network.named_parameters(), *objective.named_parameters()):
        spared = parameter.ndim <= 1 or "position_bias" in name
        (others if spared and not recipe.decay_norms else decaying).append(parameter)
    groups = [
        {"params": parameters, "weight_decay": decay}
        for parameters, decay in ((decaying, recipe.weight_decay), (others, 0.0))
        if parameters
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
    try:
        from timm.optim.lamb import Lamb
    except ImportError:
        raise InputError("optimizer=lamb needs timm: pip install 'scsc-lab[timm]'") from None
    optimizer: torch.optim.Optimizer = Lamb(groups, lr=recipe.lr)
    return optimizer


@dataclass
class _Precision:
    """Mixed precision where it is due: bfloat16, or float16 with a loss that is scaled, or neither."""

    device: str
    dtype: torch.dtype | None
    scaler: torch.amp.GradScaler

    def context(self) -> AbstractContextManager[Any]:
        return nullcontext() if self.dtype is None else torch.autocast(self.device, self.dtype)

    def backward(
        self, loss: Tensor, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], clip: float
    ) -> None:
        self.scaler.scale(loss).backward()
        if clip:
            self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(parameters, clip)
        self.scaler.step(optimizer)
        self.scaler.update()


def _precision(recipe: Recipe, device: torch.device) -> _Precision:
    dtype = None
    if recipe.amp and device.type != "cpu":
        wide = device.type != "cuda" or torch.cuda.is_bf16_supported()
        dtype = torch.bfloat16 if wide else torch.float16
    return _Precision(device.type, dtype, torch.amp.GradScaler(device.type, enabled=dtype == torch.float16))


class _Loss(nn.Module):
    """A network and its objective as one module, so that the parameters of both are spread over the processes."""

    def __init__(self, network: nn.Module, objective: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.objective = objective

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = self.objective(self.network(images), targets)
        return loss


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _spread(module: nn.Module, device: torch.device) -> nn.Module:
    """Return a module whose gradients are the means over all processes, and on CUDA its batch statistics too."""
    if not _distributed():
        return module
    if device.type == "cuda":
        module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
    return nn.parallel.DistributedDataParallel(module)


def _over_processes(loss: Tensor) -> float:
    """Return the mean of a loss over all processes: each has an equal share of the batch."""
    if _distributed():
        torch.distributed.all_reduce(loss)
        loss /= torch.distributed.get_world_size()
    return float(loss)


def _save(
    path: Path, network: nn.Module, objective: nn.Module, optimizer: torch.optim.Optimizer | None, run: Trained
) -> None:
    """Write all that a run goes on from; a finished one needs no optimizer."""
    buffer = io.BytesIO()
    state = {
        "model": network.state_dict(),
        "objective": objective.state_dict(),
        "optimizer": optimizer.state_dict() if optimizer else None,
        "curve": [asdict(epoch) for epoch in run.curve],
        "status": run.status,
        "images_per_second": run.images_per_second,
        "outputs": torch.from_numpy(run.outputs) if run.outputs is not None else None,
    }
    torch.save(state, buffer)
    store.write(path, buffer.getvalue())


def _restore(
    path: Path, network: nn.Module, objective: nn.Module, optimizer: torch.optim.Optimizer, run: Trained
) -> None:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(state["model"])
        objective.load_state_dict(state["objective"])
        if state["optimizer"] is not None:
            optimizer.load_state_dict(state["optimizer"])
        run.curve = [Epoch(**epoch) for epoch in state["curve"]]
    except (pickle.UnpicklingError, LookupError, TypeError, ValueError, RuntimeError, OSError, EOFError) as error:
        raise InputError(
            f"{path} is no checkpoint of this run ({first_line(error)}): remove it to start again"
        ) from None
    run.status, run.images_per_second = state["status"], state["images_per_second"]
    run.outputs = None if state["outputs"] is None else state["outputs"].numpy()
