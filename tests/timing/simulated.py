"""Modules that make a clock go on, and the clock: what timing finds can then be known beforehand."""

from __future__ import annotations

import functools
import random
from dataclasses import replace

import torch
from torch import nn

from scsc_lab.settings import Execution, Settings, Timing
from scsc_lab.timing.result import Candidate
from scsc_lab.timing.rounds import Clock

CPU = Execution("cpu", memory_format="contiguous")


class Time:
    """Time that passes only where something says so, a little wrongly if it is noisy."""

    def __init__(self, noise=0.0, drift=0.0, seed=0):
        self.seconds, self.noise, self.drift = 0.0, noise, drift
        self.generator = random.Random(seed)

    def spend(self, seconds):
        noise = abs(self.generator.gauss(0.0, self.noise))  # other work only ever slows down
        self.seconds += seconds * (1 + noise) * (1 + self.drift * self.seconds)

    def clock(self, shortest=0.0):
        def now():
            return self.seconds

        return Clock("made up", now, lambda a, b: b - a, now=now, shortest_seconds=shortest)


class Layers(nn.Module):
    """A stack of layers that makes a clock go on by a second a layer and image, and does nothing else."""

    def __init__(self, number, time):
        super().__init__()
        self.layers = nn.Sequential(*(Layer(time) for _ in range(number)))
        self.head = Layer(time)
        self.time = time

    def forward(self, x):
        self.time.spend(0.5 * len(x))  # what belongs to no layer
        return self.head(self.layers(x))


class Layer(nn.Module):
    def __init__(self, time, seconds=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.time, self.seconds = time, seconds

    def forward(self, x):
        self.time.spend(self.seconds * len(x))
        return x * self.weight


class Hungry(nn.Module):
    """A network that runs out of memory from some batch size, or some pass, on."""

    def __init__(self, time, batch=1, calls=0):
        super().__init__()
        self.time, self.batch, self.calls = time, batch, calls

    def forward(self, x):
        self.time.spend(1.0)
        self.calls -= len(x) >= self.batch
        if len(x) >= self.batch and self.calls < 0:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")
        return x


class Raising(nn.Module):
    """A network that raises something at some pass."""

    def __init__(self, at, time, error=KeyboardInterrupt):
        super().__init__()
        self.left, self.time, self.error = at, time, error

    def forward(self, x):
        self.time.spend(1.0)
        self.left -= 1
        if self.left == 0:
            raise self.error
        return x


def _given(model):
    return model


def candidate(model, label="net", side=4, **settings):
    return Candidate(label, functools.partial(_given, model), (side, side), **settings)


def plan(rounds=8, execution=CPU, seed=0, **timing):
    return Settings(replace(execution, seed=seed), Timing(rounds, 0.0, 1e6, **timing))
