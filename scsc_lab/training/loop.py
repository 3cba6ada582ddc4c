"""The training loop: one network, one seed, plain torch. Everything it decides is in its arguments."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from scsc_lab.errors import imported
from scsc_lab.training import checkpoint as checkpoints
from scsc_lab.training.batches import WHOLE, Batches, Mixing, shard
from scsc_lab.training.checkpoint import Epoch, Trained, is_judged
from scsc_lab.training.draws import Purpose, torch_seed
from scsc_lab.training.recipes import Recipe

Judge = Callable[[npt.NDArray[np.float32]], dict[str, float | None]]
"""Returns accuracies in percent, by name, from the outputs for every test image in order; None if any is not finite."""

Report = Callable[[int, int, float, float, float], None]
"""Called after a step: its number, the number of steps, the loss, images per second, share of time waiting."""


def train(
    network: nn.Module,
    objective: nn.Module,
    batches: Batches,
    judge: Judge,
    *,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    trunk: Path | None = None,
    report: Report | None = None,
) -> Trained:
    """Train a network by a recipe and judge it on the way and after the last epoch, which counts.

    Args:
        network: changed in place; in evaluation mode afterwards. Under ``torch.distributed`` it is spread over the
            processes, each of which takes its shard of every batch; batch statistics are shared on CUDA only.
        objective: the loss of outputs and labels; its own parameters are trained too.
        batches: data, recipe and seed.
        judge: says how good the outputs for the test images are.
        device: where to train.
        checkpoint: file that is replaced after every epoch, and resumed from if it exists. On one CPU thread of the
            same processor, with the same torch, a resumed run ends with the numbers of an uninterrupted one.
        trunk: file of the epochs that runs of several budgets share, under a constant rate: a run starts from it if it
            exists and ends before this run's cool-down, and replaces it by its own last epoch before the cool-down. On
            one CPU thread a run ends with the same numbers with or without it.
        report: called after every step.

    Raises:
        InputError: if the data makes no batch.
    """
    batches.check()
    device = torch.device(device)
    recipe = batches.recipe
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective.to(device)
    optimizer = make_optimizer(network, objective, recipe)
    mixing = Mixing.of(recipe, batches)
    run = Trained()
    shared = recipe.trunk_epochs
    for path, most in ((checkpoint, recipe.epochs), (trunk, shared)):
        if path is not None and checkpoints.restore(path, network, objective, optimizer, run, most):
            break
    loss_of = _spread(_Loss(network, objective), device)
    precision = Precision(recipe, device)
    step = len(run.curve) * batches.steps
    for epoch in range(len(run.curve), recipe.epochs):
        if run.status == "diverged":
            break
        started = time.perf_counter()
        # What the network draws itself, for drop-path and dropout: keyed by epoch, so that a resume changes nothing.
        torch.manual_seed(torch_seed(batches.seed, Purpose.NETWORK, epoch + 1, batches.shard.rank))
        loss_of.train()
        total, waited, count = 0.0, 0.0, 0
        ready = time.perf_counter()
        for index, (raw, labels) in enumerate(batches.training(epoch)):
            images = normalised(raw, batches, device)
            waited += time.perf_counter() - ready
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, step, batches.steps)
            images, targets = mixing(images, labels.to(device, non_blocking=True), epoch, index)
            with precision.context():
                loss = loss_of(images, targets)
            optimizer.zero_grad(set_to_none=True)
            precision.backward(loss, optimizer, [*network.parameters(), *objective.parameters()], recipe.clip)
            value = _over_processes(loss.detach())
            step, count, total = step + 1, count + len(raw), total + value
            if not math.isfinite(value):
                run.status = "diverged"
                break
            ready = time.perf_counter()
            if report is not None:
                elapsed = ready - started
                report(step, recipe.epochs * batches.steps, value, count / elapsed, waited / elapsed)
        if run.status == "diverged":
            break
        training_time = time.perf_counter() - started
        seconds_before = epoch / run.images_per_second if epoch else 0.0  # of one image, in all epochs before
        seconds_now = training_time / (count * batches.shard.world)
        run.images_per_second = (epoch + 1) / (seconds_before + seconds_now)
        accuracy: dict[str, float | None] = {}
        is_finite = all(torch.isfinite(parameter).all() for parameter in network.parameters())
        if is_judged(epoch + 1, recipe.epochs):
            run.outputs = outputs(network, batches, device)
            is_finite = is_finite and bool(np.isfinite(run.outputs).all())
            accuracy = judge(run.outputs)
        seconds = time.perf_counter() - started
        run.curve.append(Epoch(epoch + 1, total / batches.steps, accuracy, seconds, waited / training_time))
        if not is_finite:
            run.status = "diverged"
        if checkpoint is not None and batches.shard.rank == 0:
            checkpoints.save(checkpoint, network, objective, optimizer if epoch + 1 < recipe.epochs else None, run)
        if trunk is not None and epoch + 1 == shared and batches.shard.rank == 0:
            checkpoints.save(trunk, network, objective, optimizer, run)
    if run.outputs is None and run.status == "complete":
        run.outputs = outputs(network, batches, device)
    network.eval()
    return run


def outputs(network: nn.Module, batches: Batches, device: torch.device | str) -> npt.NDArray[np.float32]:
    """Return the outputs of a network in evaluation mode for every test image in order, ``(images, outputs)``."""
    network.eval()
    with torch.no_grad():
        parts = [network(normalised(raw, batches, device)).float().cpu() for raw, _ in batches.test()]
    return torch.cat(parts).numpy()


def normalised(raw: Tensor, batches: Batches, device: torch.device | str) -> Tensor:
    """Return images of values 0 to 255 as normalised inputs, channels-last, on the device."""
    prepared = batches.preparation
    mean, std = (torch.tensor(value, device=device).view(-1, 1, 1) for value in (prepared.mean, prepared.std))
    images = raw.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
    return (images.float() / 255 - mean) / std


class _Loss(nn.Module):
    """A network and its objective as one module, so that the parameters of both are spread over the processes."""

    def __init__(self, network: nn.Module, objective: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.objective = objective

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = self.objective(self.network(images), targets)
        return loss


def _spread(module: nn.Module, device: torch.device) -> nn.Module:
    """Return a module whose gradients are the means over all processes, and on CUDA its batch statistics too."""
    if shard() == WHOLE:
        return module
    if device.type == "cuda":
        module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
    return nn.parallel.DistributedDataParallel(module)


def _over_processes(loss: Tensor) -> float:
    """Return the mean of a loss over all processes: each has an equal share of the batch."""
    if shard() != WHOLE:
        torch.distributed.all_reduce(loss)
        loss /= shard().world
    return float(loss)


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of a step, counted from 0 over all epochs."""
    warmup, last = recipe.warmup_epochs * steps_per_epoch, recipe.epochs * steps_per_epoch
    if step < warmup:
        return recipe.lr * (step + 1) / warmup if warmup > 1 else recipe.lr
    if recipe.schedule == "constant":
        start = (1 - recipe.cooldown) * last
        return recipe.lr * (1 - math.sqrt((step - start) / (last - start))) if step > start else recipe.lr
    if recipe.schedule == "step":
        return recipe.lr * 0.1 ** (3 * (step // steps_per_epoch) // recipe.epochs)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (last - warmup)))


def make_optimizer(network: nn.Module, objective: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimizer; norms, biases and position biases do not decay unless the recipe says so."""
    fused = next(network.parameters()).device.type in ("cpu", "cuda")  # one kernel for all weights of a group
    decaying: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    for name, parameter in (*network.named_parameters(), *objective.named_parameters()):
        spared = parameter.ndim <= 1 or "position_bias" in name
        (undecayed if spared and not recipe.decay_norms else decaying).append(parameter)
    groups = [
        {"params": parameters, "weight_decay": decay}
        for parameters, decay in ((decaying, recipe.weight_decay), (undecayed, 0.0))
        if parameters
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, eps=recipe.eps, fused=fused)
    if recipe.optimizer == "sgd":
        nesterov = recipe.momentum > 0
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=nesterov, fused=fused)
    timm = imported("timm.optim.lamb", "optimizer=lamb needs timm: pip install 'scsc-lab[timm]'")
    optimizer: torch.optim.Optimizer = timm.Lamb(groups, lr=recipe.lr)
    return optimizer


class Precision:
    """Mixed precision of a recipe: bfloat16 or float16 with a scaled loss on an accelerator, neither on the CPU."""

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        has_bfloat16 = device.type != "cuda" or torch.cuda.is_bf16_supported()
        self.device = device.type
        self.is_mixed = recipe.amp and device.type != "cpu"
        self.dtype = torch.bfloat16 if has_bfloat16 else torch.float16
        self.scaler = torch.amp.GradScaler(self.device, enabled=self.is_mixed and self.dtype == torch.float16)

    def context(self) -> AbstractContextManager[object]:
        """Return the context of a forward pass."""
        return torch.autocast(self.device, self.dtype) if self.is_mixed else nullcontext()

    def backward(
        self, loss: Tensor, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], clip: float
    ) -> None:
        """Run the backward pass, clip the gradient's norm (0: leave it) and take a step."""
        self.scaler.scale(loss).backward()
        if clip:
            self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(parameters, clip)
        self.scaler.step(optimizer)
        self.scaler.update()
