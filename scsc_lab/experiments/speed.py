"""The latency of networks, side by side: models meet the clock here, and become rows."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from scsc_lab.analysis import paired
from scsc_lab.errors import InputError, last_line
from scsc_lab.execution import device as devices
from scsc_lab.execution import memory
from scsc_lab.execution.passes import Run, dtype_of, one_pass, placed, random_input, using_threads
from scsc_lab.experiments.size import count_subject
from scsc_lab.models.subject import Subject
from scsc_lab.settings import Execution, Plan
from scsc_lab.timing import clock as clocks
from scsc_lab.timing.clock import Clock
from scsc_lab.timing.result import COMPLETE, CUT_SHORT, OUT_OF_MEMORY, Timing
from scsc_lab.timing.rounds import Rounds, interleave, warm_up

Progress = Callable[[str, float, float | None], None]
"""Told what is being done, the seconds it has taken and those still expected (``None``: not known)."""

_MOST_NAMES = 3


def measure(
    subjects: Sequence[Subject],
    plan: Plan,
    *,
    baseline: int = 0,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> list[Timing]:
    """Time networks side by side, at each batch size, and compare them with one of them.

    Args:
        subjects: the networks; subjects with the same ``make`` share one network, so that it is timed against itself.
        plan: what to measure.
        baseline: which of the networks the others are compared with.
        clock: in place of the device's own.
        progress: told what is being done.

    Returns:
        One timing a batch size and network. A keyboard interrupt ends it with what has been measured so far, marked
        ``cut short``; only where nothing has is it passed on.

    Raises:
        InputError: if the device is not there or cannot compute in the type, or a network fails on the input.
    """
    device = devices.find(plan.execution.device)
    execution = replace(plan.execution, device=str(device))
    devices.check_dtype(device, dtype_of(execution))
    clock = clock or clocks.of(device)
    name = devices.describe(device)
    empty = [
        [blank(subject, batch, plan, execution, name, clock.name) for subject in subjects] for batch in plan.batches
    ]
    found: list[Timing] = []
    with using_threads(execution.threads), memory.limited(device, unless=execution.compile):
        networks: dict[int, nn.Module] = {}
        try:
            for subject in subjects:
                if id(subject.make) not in networks:
                    _tell(progress, f"building {subject.label}")
                    networks[id(subject.make)] = build(subject, execution, plan.seed)
            for timings in empty:
                found += _compared(_at_batch(subjects, networks, timings, plan, clock, progress), baseline, plan)
                if any(timing.status == CUT_SHORT for timing in found):
                    break
        except KeyboardInterrupt:
            pass
    found += [timing for timings in empty for timing in timings][len(found) :]
    if not any(timing.samples or timing.status == OUT_OF_MEMORY for timing in found):
        raise KeyboardInterrupt
    return found


def build(subject: Subject, execution: Execution, seed: int) -> nn.Module:
    """Return a network as it runs, with weights; random ones are seeded."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = subject.make()
    return placed(model, execution)


def blank(subject: Subject, batch: int, plan: Plan, execution: Execution, device_name: str, clock: str) -> Timing:
    """Return a timing with everything but the time; the count also finds an input that the network does not take."""
    resolution = plan.resolution or subject.resolution
    subject.check_resolution(resolution)
    macs = count_subject(subject, (batch, subject.channels, *resolution)).macs
    return Timing(subject.label, subject.form, resolution, batch, execution, device_name, clock, plan, macs, CUT_SHORT)


def _at_batch(
    subjects: Sequence[Subject],
    networks: dict[int, nn.Module],
    timings: Sequence[Timing],
    plan: Plan,
    clock: Clock,
    progress: Progress | None,
) -> list[Timing]:
    """Return timings of all networks at one batch size; one that runs out of memory says so and is left out."""
    found, runs = list(timings), {}
    for index, subject in enumerate(subjects):
        try:
            _tell(progress, f"warming up {_at(found[index])}")
            runs[index], found[index] = _warmed_up(subject, networks[id(subject.make)], found[index], plan, clock)
        except KeyboardInterrupt:
            return found
        except Exception as error:  # whatever the network's own code raises
            found[index] = failed(found[index], error)
    gc.collect()
    while runs:
        names = [found[index].model for index in runs]
        together = ", ".join(names) if len(names) <= _MOST_NAMES else f"{len(names)} networks"
        what = f"timing {together} at batch {timings[0].batch}"
        watched = {index: _Watched(run) for index, run in runs.items()}
        try:
            rounds = interleave(
                list(watched.values()),
                plan.budget,
                clock,
                seed=plan.seed,
                progress=functools.partial(progress, what) if progress else None,
            )
        except Exception as error:
            guilty = [index for index, run in watched.items() if run.failed]
            if not guilty:
                raise
            for index in guilty:
                found[index] = failed(found[index], error)
                del runs[index]
            continue
        for position, index in enumerate(runs):
            found[index] = _sampled(found[index], rounds, position)
        break
    return found


def _warmed_up(subject: Subject, model: nn.Module, timing: Timing, plan: Plan, clock: Clock) -> tuple[Run, Timing]:
    made: list[Run] = []

    def fresh_pass() -> float:
        shape = (timing.batch, subject.channels, *timing.resolution)
        made[:] = [one_pass(model, random_input(shape, timing.execution, plan.seed), timing.execution)]
        return clock.time(made[0])

    first = fresh_pass()  # pays for what is done only once, in memory too
    made.clear()
    model.zero_grad(set_to_none=True)
    peak = memory.peak(fresh_pass, torch.device(timing.execution.device), memory.weight_bytes(model))
    warm = warm_up(made[0], clock, plan.warm_up_seconds)
    warm = replace(warm, runs=warm.runs + 2, seconds=warm.seconds + first, first_seconds=first)
    return made[0], replace(timing, memory=peak, warm_up=warm)


def _sampled(timing: Timing, rounds: Rounds, position: int) -> Timing:
    status = CUT_SHORT if rounds.cut_short else COMPLETE
    return replace(timing, status=status, samples=rounds.samples[position], repeats=rounds.repeats[position])


def failed(timing: Timing, error: Exception) -> Timing:
    """Return a timing that says that memory ran out.

    Raises:
        InputError: if the error is another: the network does not run like this.
    """
    if memory.is_exhausted(error):
        gc.collect()
        if timing.execution.device.startswith("cuda"):
            torch.cuda.empty_cache()
        return replace(timing, status=OUT_OF_MEMORY)
    if isinstance(error, InputError):
        raise error
    raise InputError(
        f"{timing.model} fails at batch {timing.batch} in {timing.execution.dtype}: {last_line(error)}"
    ) from error


def _compared(timings: Sequence[Timing], baseline: int, plan: Plan) -> list[Timing]:
    """Return timings of one batch size, with each compared with the baseline."""
    reference = timings[baseline]
    found = []
    for index, timing in enumerate(timings):
        if index == baseline:
            found.append(timing)
            continue
        comparison = None
        if timing.samples and reference.samples:
            comparison = paired.compare(
                reference.samples, timing.samples, delta=plan.delta, resamples=plan.resamples, seed=plan.seed
            )
        macs_ratio = timing.macs / reference.macs if reference.macs else None
        found.append(replace(timing, baseline=reference.model, macs_ratio=macs_ratio, comparison=comparison))
    return found


@dataclass
class _Watched:
    """A run that remembers whether it failed, so that the one among several is known."""

    run: Run
    failed: bool = False

    def __call__(self) -> None:
        try:
            self.run()
        except Exception:
            self.failed = True
            raise


def _at(timing: Timing) -> str:
    return f"{timing.model} at batch {timing.batch}"


def _tell(progress: Progress | None, what: str) -> None:
    if progress:
        progress(what, 0.0, None)
