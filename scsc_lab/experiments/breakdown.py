"""Where the time of a network goes: its stages or modules timed inside the pass, reconciled with the whole pass."""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from scsc_lab.analysis import samples
from scsc_lab.errors import InputError
from scsc_lab.execution import device as devices
from scsc_lab.execution import memory
from scsc_lab.execution.passes import Run, dtype_of, one_pass, random_input, using_threads
from scsc_lab.experiments.size import count_subject
from scsc_lab.experiments.speed import Progress, blank, build, failed
from scsc_lab.models.stages import stages
from scsc_lab.models.subject import Subject
from scsc_lab.records import Count, Row
from scsc_lab.settings import Plan
from scsc_lab.timing import clock as clocks
from scsc_lab.timing.clock import Clock
from scsc_lab.timing.result import COMPLETE, CUT_SHORT, Timing
from scsc_lab.timing.rounds import interleave, warm_up

BY = ("module", "stage")
"""What a network can be divided into."""

UNEXPLAINED = "unexplained"
"""The share of the whole that no part accounts for: what runs between the parts, less what watching them costs."""

_DEPTH = 2
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class Breakdown:
    """One network at one batch size, and the time of its parts.

    Attributes:
        whole: the network, timed without watching its parts.
        by: ``module`` or ``stage``.
        parts: for each part its seconds in every watched pass; those alternate with passes that are not, at random.
        macs: multiply-accumulates of each part.
    """

    whole: Timing
    by: str
    parts: Mapping[str, tuple[float, ...]]
    macs: Mapping[str, int]

    def rows(self) -> list[Row]:
        """Return a row a part, one of what is unexplained and one of the whole, which they sum to."""
        total = self.whole.median_seconds
        seconds = {name: samples.median(times) or 0.0 for name, times in self.parts.items()}
        macs = dict(self.macs)
        if total is not None:
            seconds[UNEXPLAINED] = total - sum(seconds.values())
            macs[UNEXPLAINED] = self.whole.macs - sum(macs.values())
        whole = self.whole.row()
        rows = [
            {
                **whole,
                "by": self.by,
                "name": name,
                "median_seconds": value,
                "iqr_seconds": samples.interquartile_range(self.parts.get(name, ())),
                "time_share": value / total if total else None,
                "macs": macs[name],
                "macs_share": macs[name] / self.whole.macs if self.whole.macs else None,
                "samples": len(self.parts.get(name, ())),
                "samples_seconds": list(self.parts.get(name, ())),
            }
            for name, value in seconds.items()
        ]
        shares = {"time_share": 1.0 if total else None, "macs_share": 1.0 if self.whole.macs else None}
        return [*rows, {**whole, "by": self.by, "name": "total", **shares}]


def measure(
    subjects: Sequence[Subject],
    plan: Plan,
    by: str,
    *,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> list[Breakdown]:
    """Time the parts of networks, at each batch size.

    Args:
        subjects: the networks, one after the other.
        plan: what to measure; the budget holds for each network and batch size.
        by: ``stage``, or ``module``: children of the network, containers opened.
        clock: in place of the device's own.
        progress: told what is being done.

    Returns:
        One breakdown a network and batch size; a keyboard interrupt ends it with what has been measured so far.

    Raises:
        InputError: if the device is not there, a network fails, or what is asked for has no parts to watch.
    """
    if by not in BY:
        raise InputError(f"cannot break down by {by!r}: one of {', '.join(BY)}")
    if plan.execution.train or plan.execution.compile:
        raise InputError("a breakdown is of the forward pass as it is written: without training, without compiling")
    device = devices.find(plan.execution.device)
    execution = replace(plan.execution, device=str(device))
    devices.check_dtype(device, dtype_of(execution))
    clock, name = clock or clocks.of(device), devices.describe(device)
    found: list[Breakdown] = []
    with using_threads(execution.threads), memory.limited(device):
        built: Subject | None = None
        for subject, batch in itertools.product(subjects, plan.batches):
            empty: Breakdown | None = None
            try:
                whole = blank(subject, batch, plan, execution, name, clock.name)
                shape = (batch, subject.channels, *whole.resolution)
                if subject is not built:
                    model, built = build(subject, execution, plan.seed), subject
                    divided = partition(model, by, shape)
                empty = Breakdown(whole, by, {}, _macs(count_subject(subject, shape), divided, by))
                found.append(_broken_down(model, shape, empty, divided, plan, clock, progress))
            except KeyboardInterrupt:
                if not found:
                    raise
                return [*found, *([empty] if empty else [])]
            except Exception as error:  # whatever the network's own code raises
                if empty is None:
                    raise
                found.append(replace(empty, whole=failed(empty.whole, error)))
            if found[-1].whole.status == CUT_SHORT:
                return found
    return found


def partition(model: nn.Module, by: str, shape: Sequence[int]) -> dict[str, tuple[str, ...]]:
    """Return the names of the modules that make up each part; no module is inside another.

    By module these are the network's children, where those are mere containers their own.
    """
    if by == "stage":
        return {stage: tuple(names) for stage, names in stages(model, shape).items()}
    once = {name for name, _ in model.named_modules()}  # a module that is registered twice goes by its first name
    return {name: (name,) for name in _opened(model, "", _DEPTH) if name in once}


def _opened(module: nn.Module, prefix: str, depth: int) -> Iterator[str]:
    for name, child in module.named_children():
        if isinstance(child, _CONTAINERS) and depth > 1:
            yield from _opened(child, f"{prefix}{name}.", depth - 1)
        else:
            yield f"{prefix}{name}"


def _macs(count: Count, divided: Mapping[str, tuple[str, ...]], by: str) -> dict[str, int]:
    if by == "stage":
        counted = {part.name: part.macs for part in count.by_stage(divided)}
        return {name: counted.get(name, 0) for name in divided}
    counted = {part.name: part.macs for part in count.by_module()}
    return {name: sum(counted[module] for module in modules) for name, modules in divided.items()}


def _broken_down(
    model: nn.Module,
    shape: Sequence[int],
    empty: Breakdown,
    divided: Mapping[str, tuple[str, ...]],
    plan: Plan,
    clock: Clock,
    progress: Progress | None,
) -> Breakdown:
    whole = empty.whole
    what = f"timing the {empty.by}s of {whole.model} at batch {whole.batch}"
    run = one_pass(model, random_input(shape, whole.execution, plan.seed), whole.execution)
    watched = _Watch(model, run, divided, clock)
    warm = warm_up(run, clock, plan.warm_up_seconds)
    watched()
    watched.seconds.clear()
    tell = functools.partial(progress, what) if progress else None
    rounds = interleave([run, watched], plan.budget, clock, seed=plan.seed, progress=tell)
    status = CUT_SHORT if rounds.cut_short else COMPLETE
    whole = replace(whole, status=status, samples=rounds.samples[0], repeats=rounds.repeats[0], warm_up=warm)
    parts = {name: tuple(watched.seconds[name]) for name in divided if watched.seconds[name]}
    return Breakdown(whole, empty.by, parts, {name: empty.macs[name] for name in parts})


class _Watch:
    """A pass that notes when each part begins and ends."""

    def __init__(self, model: nn.Module, run: Run, divided: Mapping[str, tuple[str, ...]], clock: Clock) -> None:
        self.model, self.run, self.clock = model, run, clock
        self.owner = {module: part for part, modules in divided.items() for module in modules}
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def __call__(self) -> None:
        begun: dict[str, Any] = {}
        spans: list[tuple[str, Any, Any]] = []

        def enter(part: str, *_: Any) -> None:
            begun[part] = self.clock.mark()

        def leave(part: str, *_: Any) -> None:
            spans.append((part, begun[part], self.clock.mark()))

        hooks = []
        for name, part in self.owner.items():
            module = self.model.get_submodule(name)
            hooks.append(module.register_forward_pre_hook(functools.partial(enter, part)))
            hooks.append(module.register_forward_hook(functools.partial(leave, part)))
        try:
            self.run()
        finally:
            for hook in hooks:
                hook.remove()
        self.clock.synchronize()
        sums: dict[str, float] = defaultdict(float)
        for part, start, end in spans:
            sums[part] += self.clock.between(start, end)
        for part, seconds in sums.items():
            self.seconds[part].append(seconds)
