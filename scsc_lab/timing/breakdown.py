"""Times of a module's parts, or of its runtime's operators, measured inside the pass and compared with it."""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from scsc_lab import runtimes
from scsc_lab.analysis import paired
from scsc_lab.errors import InputError
from scsc_lab.execution import hardware
from scsc_lab.execution.passes import Run, using_threads
from scsc_lab.records import Row
from scsc_lab.runtimes import Profile
from scsc_lab.runtimes.source import Source
from scsc_lab.settings import Settings
from scsc_lab.timing.latency import Progress
from scsc_lab.timing.ready import called, failed, warmed_up
from scsc_lab.timing.result import COMPLETE, CUT_SHORT, FAILED, Candidate, Latency, blank, made, settled
from scsc_lab.timing.rounds import Clock, clock_of, interleave

OPERATOR = "operator"
"""Name of a breakdown by the runtime's own operators."""

UNEXPLAINED = "unexplained"
"""The share of the whole that no part accounts for: what runs between the parts, less what watching them costs."""

_DEPTH = 2
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_NEVER_CALLED = (nn.ModuleList, nn.ModuleDict)

Parts = Mapping[str, Sequence[str]]
"""The names of the modules that make up each part; no module is inside another."""


@dataclass(frozen=True)
class Breakdown:
    """One module at one batch size, and the time of its parts.

    Attributes:
        latency: the module, timed without watching its parts.
        by: kind of parts: ``module``, ``stage`` or ``operator``.
        parts: for each part its seconds in every watched pass; those alternate with passes that are not, at random.
        passes: seconds of every watched pass.
        macs: multiply-accumulates of each part, where somebody counted.
    """

    latency: Latency
    by: str
    parts: Mapping[str, tuple[float, ...]]
    passes: tuple[float, ...] = ()
    macs: Mapping[str, int] = field(default_factory=dict)

    @property
    def seconds(self) -> dict[str, float]:
        """Time of each part: its share of a watched pass, the median over those, of the median time of the others.

        What else the machine does slows a pass and its parts alike.
        """
        total = self.latency.median_seconds or 0.0
        return {name: self._share(times) * total for name, times in self.parts.items()}

    def rows(self) -> list[Row]:
        """Return a row a part, one of what is unexplained and one of the whole, which they sum to."""
        total, seconds = self.latency.median_seconds, self.seconds
        macs: dict[str, int | None] = {name: self.macs.get(name) for name in self.parts}
        counted = self.latency.macs if self.macs else None
        if total is not None:
            seconds[UNEXPLAINED] = total - sum(seconds.values())
            macs[UNEXPLAINED] = None if counted is None else counted - sum(value or 0 for value in macs.values())
        of_total = self.latency.row()
        rows = [
            {
                **of_total,
                "by": self.by,
                "name": name,
                "median_seconds": value,
                "iqr_seconds": paired.interquartile_range(self.parts.get(name, ())),
                "spread": paired.spread(self.parts.get(name, ())),
                "time_share": value / total if total else None,
                "macs": macs[name],
                "macs_share": macs[name] / counted if counted and macs[name] is not None else None,  # type: ignore[operator]
                "samples": len(self.parts.get(name, ())),
                "samples_seconds": list(self.parts.get(name, ())),
            }
            for name, value in seconds.items()
        ]
        shares = {"time_share": 1.0 if total else None, "macs_share": 1.0 if counted else None}
        return [*rows, {**of_total, "by": self.by, "name": "total", **shares}]

    def _share(self, times: Sequence[float]) -> float:
        shares = [part / total for part, total in zip(times, self.passes, strict=True) if total > 0]
        return paired.median(shares) or 0.0


def measure(
    candidates: Sequence[Candidate],
    settings: Settings,
    by: str,
    stages: Sequence[Parts] = (),
    *,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> list[Breakdown]:
    """Time the parts of modules, at each batch size, or the operators that they are in their runtimes.

    Modules and stages are torch's own; which operators there are, after fusion, only a runtime's own profile tells.

    Args:
        candidates: the modules, one after the other.
        settings: what to measure; the budget holds for each module and batch size.
        by: ``stage``; ``module``: children of the module, containers opened; or ``operator``.
        stages: for each candidate the modules of its stages, where they are asked for.
        clock: in place of the device's own.
        progress: called with what is being done.

    Returns:
        One breakdown a candidate and batch size; a keyboard interrupt ends it with what has been measured so far.

    Raises:
        InputError: if the device is not there, a module fails, or what is asked for has no parts to watch.
    """
    used = list(dict.fromkeys(candidate.runtime for candidate in candidates))
    if settings.execution.train or (by != OPERATOR and used != [runtimes.USUAL]):
        raise InputError("a breakdown needs the forward pass as written: in torch, without training")
    runtimes.check(used, settings.execution)
    bounded = all(runtimes.find(name).bounded for name in used)
    device, execution = settled(settings.execution)
    clock = clock or clock_of(device)
    breakdowns: list[Breakdown] = []
    with using_threads(execution.threads), hardware.limited(device, unless=not bounded):
        built: object = None
        for index, batch in itertools.product(range(len(candidates)), settings.batches):
            candidate = candidates[index]
            empty = Breakdown(blank(candidate, batch, settings, execution, clock), by, {})
            try:
                if candidate.module != built:
                    model, built = made(candidate, execution, settings.execution.seed), candidate.module
                source = Source(candidate.label, model, candidate.tensors(batch), execution, settings.execution.seed)
                source.make_for([candidate.runtime])
                parts = None
                if by != OPERATOR:
                    parts = opened(source.module, stages[index]) if stages else partition(source.module)
                breakdowns.append(_broken_down(source, empty, parts, clock, progress))
            except KeyboardInterrupt:
                if not breakdowns:
                    raise
                return [*breakdowns, empty]
            except BaseException as error:  # whatever the network's own code raises, an exit too
                breakdowns.append(replace(empty, latency=failed(empty.latency, error)))
            if breakdowns[-1].latency.status == CUT_SHORT:
                return breakdowns
    if all(each.latency.status == FAILED for each in breakdowns):
        raise InputError(breakdowns[0].latency.failure)
    return breakdowns


def partition(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return a module's children as parts, where those are mere containers their own."""
    once = {name for name, _ in model.named_modules()}  # a module that is registered twice goes by its first name
    return opened(model, {name: (name,) for name in _children(model, "", _DEPTH) if name in once})


def opened(model: nn.Module, parts: Parts) -> dict[str, tuple[str, ...]]:
    """Return parts with the items of a ModuleList or ModuleDict in place of it: it is never called itself."""

    def called(name: str) -> Iterator[str]:
        module = model.get_submodule(name)
        if isinstance(module, _NEVER_CALLED) and type(module).forward is nn.Module.forward:
            for child, _ in module.named_children():
                yield from called(f"{name}.{child}")
        else:
            yield name

    return {part: tuple(inner for name in names for inner in called(name)) for part, names in parts.items()}


def _children(module: nn.Module, prefix: str, depth: int) -> Iterator[str]:
    for name, child in module.named_children():
        if isinstance(child, _CONTAINERS) and depth > 1:
            yield from _children(child, f"{prefix}{name}.", depth - 1)
        else:
            yield f"{prefix}{name}"


def _broken_down(
    source: Source,
    empty: Breakdown,
    parts: Parts | None,
    clock: Clock,
    progress: Progress | None,
) -> Breakdown:
    description = f"timing the {empty.by}s of {called(empty.latency)} at batch {empty.latency.batch}"
    settings = empty.latency.settings
    session, run, latency = warmed_up(source, empty.latency, settings, clock)
    watched = _Profiled(session.profile(), clock) if parts is None else _Watch(source.module, run, parts, clock)
    report = functools.partial(progress, description) if progress else None
    before = hardware.load_average()
    rounds = interleave([run, watched], settings.timing, clock, seed=settings.execution.seed, progress=report)
    latency = replace(
        latency,
        status=CUT_SHORT if rounds.cut_short else COMPLETE,
        samples=rounds.samples[0],
        repeats=rounds.repeats,
        load=hardware.Load(before, hardware.load_average(), hardware.cores()),
    )
    if not rounds.orders:
        return replace(empty, latency=latency)
    last = slice(-len(rounds.orders) * rounds.repeats, None)  # without the passes that found the repeats
    seconds = {name: tuple(times[last]) for name, times in watched.seconds.items() if any(times)}
    return replace(empty, latency=latency, parts=seconds, passes=tuple(watched.passes[last]))


class _Profiled:
    """A pass whose operators the runtime itself times."""

    def __init__(self, profile: Profile, clock: Clock) -> None:
        self.profile, self.clock = profile, clock
        self.passes: list[float] = []

    def __call__(self) -> None:
        self.clock.synchronize()
        self.passes.append(self.profile.run())

    @functools.cached_property
    def seconds(self) -> dict[str, list[float]]:
        """Seconds of each operator in every pass, the longest first; there is no pass after this was asked.

        Raises:
            InputError: if the profile does not hold every pass.
        """
        passes = self.profile.operators()
        if len(passes) > len(self.passes):  # a pass that was interrupted before its end was noted
            passes = passes[: len(self.passes)]
        if len(passes) < len(self.passes):
            raise InputError(f"the profile holds {len(passes)} of {len(self.passes)} passes: take fewer --pairs")
        seconds = {name: [profile.get(name, 0.0) for profile in passes] for profile in passes for name in profile}
        return dict(sorted(seconds.items(), key=lambda item: -(paired.median(item[1]) or 0.0)))


class _Watch:
    """A pass that notes when each part begins and ends; a part that another one calls is not in that one's time."""

    def __init__(self, model: nn.Module, run: Run, parts: Parts, clock: Clock) -> None:
        self.run, self.clock = run, clock
        modules = [(model.get_submodule(name), part) for part, names in parts.items() for name in names]
        self.owned = {id(module): (module, part) for module, part in reversed(modules)}  # shared: by the first name
        self.seconds: dict[str, list[float]] = {part: [] for part in parts}
        self.passes: list[float] = []

    def __call__(self) -> None:
        running: list[tuple[str, Any]] = []
        spans: list[tuple[str, str, Any, Any]] = []

        def enter(part: str, *_: Any) -> None:
            running.append((part, self.clock.mark()))

        def leave(part: str, *_: Any) -> None:
            left = self.clock.mark()
            entered = running.pop()[1]
            spans.append((part, running[-1][0] if running else "", entered, left))

        hooks = []
        for module, part in self.owned.values():
            hooks.append(module.register_forward_pre_hook(functools.partial(enter, part), prepend=True))
            hooks.append(module.register_forward_hook(functools.partial(leave, part), always_call=True))
        try:
            start = self.clock.mark()
            self.run()
            end = self.clock.mark()
        finally:
            for hook in hooks:
                hook.remove()
        self.clock.synchronize()
        sums: dict[str, float] = defaultdict(float)
        for part, caller, entered, left in spans:
            seconds = self.clock.between(entered, left)
            sums[part] += seconds
            sums[caller] -= seconds
        for part, times in self.seconds.items():
            times.append(sums[part])
        self.passes.append(self.clock.between(start, end))
