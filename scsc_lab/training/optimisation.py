"""One step of training: its learning rate, the optimizer, mixed precision."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scsc_lab.errors import InputError
from scsc_lab.training.recipes import Recipe


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
    try:
        from timm.optim.lamb import Lamb
    except ImportError:
        raise InputError("optimizer=lamb needs timm: pip install 'scsc-lab[timm]'") from None
    optimizer: torch.optim.Optimizer = Lamb(groups, lr=recipe.lr)
    return optimizer


@dataclass
class Precision:
    """Mixed precision: bfloat16, float16 with a scaled loss, or neither (``dtype`` is None)."""

    device: str
    dtype: torch.dtype | None
    scaler: torch.amp.GradScaler

    def context(self) -> AbstractContextManager[Any]:
        """Return the context of a forward pass."""
        return nullcontext() if self.dtype is None else torch.autocast(self.device, self.dtype)

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


def precision_of(recipe: Recipe, device: torch.device) -> Precision:
    """Return the precision that a recipe trains with on a device."""
    dtype = None
    if recipe.amp and device.type != "cpu":
        wide = device.type != "cuda" or torch.cuda.is_bf16_supported()
        dtype = torch.bfloat16 if wide else torch.float16
    return Precision(device.type, dtype, torch.amp.GradScaler(device.type, enabled=dtype == torch.float16))
