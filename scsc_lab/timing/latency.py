"""The latency of modules, side by side: made, made ready in their runtimes, warmed up, timed in rounds and compared."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from scsc_lab import runtimes
from scsc_lab.analysis import paired
from scsc_lab.analysis.paired import Comparison
from scsc_lab.errors import InputError
from scsc_lab.execution import hardware
from scsc_lab.execution.passes import Run, using_threads
from scsc_lab.runtimes.source import Source
from scsc_lab.settings import Settings
from scsc_lab.timing.ready import called, failed, warmed_up
from scsc_lab.timing.result import COMPLETE, CUT_SHORT, OUT_OF_MEMORY, Candidate, Latency, blank, made, settled
from scsc_lab.timing.rounds import Clock, clock_of, interleave

Progress = Callable[[str, float, float | None], None]
"""Told what is being done, the seconds it has taken and those still expected (``None``: not known)."""

_MOST_NAMES = 3


def measure(
    candidates: Sequence[Candidate],
    settings: Settings,
    *,
    baseline: int = 0,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> list[Latency]:
    """Time modules side by side, at each batch size, and compare them with one of them.

    Args:
        candidates: the modules; those with an equal ``make`` and input are one module, timed against itself.
        settings: what to measure.
        baseline: which of them the others are compared with, each in its own runtime.
        clock: in place of the device's own.
        progress: called with what is being done.

    Returns:
        One timing a batch size and candidate; one that cannot be made, fails on the input or computes something else in
        a runtime than in torch says so. A keyboard interrupt ends it with what has been measured so far, marked ``cut
        short``; only where nothing has is it passed on.

    Raises:
        InputError: if the device is not there or cannot compute in the type, or all candidates fail.
    """
    used = [runtimes.find(name) for name in dict.fromkeys(candidate.runtime for candidate in candidates)]
    runtimes.check([runtime.name for runtime in used], settings.execution)
    device, execution = settled(settings.execution)
    clock = clock or clock_of(device)
    empty = [
        [blank(candidate, batch, settings, execution, clock) for candidate in candidates] for batch in settings.batches
    ]
    latencies: list[Latency] = []
    with (
        using_threads(execution.threads),
        hardware.limited(device, unless=not all(runtime.bounded for runtime in used)),
    ):
        modules: dict[object, nn.Module | bytes | InputError] = {}
        try:
            for candidate in candidates:
                if candidate.module not in modules:
                    _notify(progress, f"building {candidate.label}")
                    try:
                        modules[candidate.module] = made(candidate, execution, settings.execution.seed)
                    except InputError as error:  # the others are timed
                        modules[candidate.module] = error
            for timings in empty:
                latencies += _at_batch(candidates, modules, timings, settings, baseline, clock, progress)
                if any(timing.status == CUT_SHORT for timing in latencies):
                    break
        except KeyboardInterrupt:
            pass
    latencies += [timing for timings in empty for timing in timings][len(latencies) :]
    if not any(timing.samples or timing.status == OUT_OF_MEMORY for timing in latencies):
        failure = next((timing.failure for timing in latencies if timing.failure), "")
        raise InputError(failure) if failure else KeyboardInterrupt
    return latencies


def _at_batch(
    candidates: Sequence[Candidate],
    modules: Mapping[object, nn.Module | bytes | InputError],
    timings: Sequence[Latency],
    settings: Settings,
    baseline: int,
    clock: Clock,
    progress: Progress | None,
) -> list[Latency]:
    """Return timings of all at one batch size; one that fails or runs out of memory says so and is left out."""
    latencies = list(timings)
    runs: dict[int, Run] = {}
    warmed: dict[object, int] = {}
    sources: dict[object, Source] = {}
    for index, candidate in enumerate(candidates):
        timing = latencies[index]
        try:
            if (first := warmed.setdefault(candidate.pass_, index)) in runs:
                twin = replace(latencies[first], model=timing.model, form=timing.form)
                runs[index], latencies[index] = runs[first], twin
                continue
            _notify(progress, f"warming up {called(timing)} at batch {timing.batch}")
            if candidate.module not in sources:
                model, inputs = modules[candidate.module], candidate.tensors(timing.batch)
                if isinstance(model, InputError):
                    raise model
                source = Source(timing.model, model, inputs, timing.execution, settings.execution.seed)
                source.make_for(
                    other_candidate.runtime
                    for other_candidate in candidates
                    if other_candidate.module == candidate.module
                )
                sources[candidate.module] = source
            _, runs[index], latencies[index] = warmed_up(sources[candidate.module], timing, settings, clock)
        except KeyboardInterrupt:
            return latencies
        except BaseException as error:  # whatever the network's own code raises, an exit too
            latencies[index] = failed(timing, error)
    gc.collect()
    while runs:
        names = [called(latencies[index]) for index in runs]
        together = ", ".join(names) if len(names) <= _MOST_NAMES else f"{len(names)} passes"
        description = f"timing {together} at batch {timings[0].batch}"
        watched = {index: _Watched(run) for index, run in runs.items()}
        before = hardware.load_average()
        try:
            rounds = interleave(
                list(watched.values()),
                settings.timing,
                clock,
                seed=settings.execution.seed,
                progress=functools.partial(progress, description) if progress else None,
                is_clear=functools.partial(_is_clear, list(runs), latencies, candidates, baseline, settings),
            )
        except BaseException as error:
            guilty = [index for index, run in watched.items() if run.failed]
            if not guilty:
                raise
            for index in guilty:
                latencies[index] = failed(latencies[index], error)
                del runs[index]
            continue
        status = CUT_SHORT if rounds.cut_short else COMPLETE
        machine = hardware.Load(before, hardware.load_average(), hardware.cores())
        for samples, index in zip(rounds.samples, runs, strict=True):
            latencies[index] = replace(
                latencies[index], status=status, samples=samples, repeats=rounds.repeats, load=machine
            )
        return _compared(latencies, candidates, baseline, settings)
    return _compared(latencies, candidates, baseline, settings)


def _is_clear(
    runs: Sequence[int],
    timings: Sequence[Latency],
    candidates: Sequence[Candidate],
    baseline: int,
    settings: Settings,
    samples: Sequence[Sequence[float]],
) -> bool:
    """Return whether every comparison has a verdict, or an interval as narrow as asked; never without comparisons."""
    so_far = list(timings)
    for index, times in zip(runs, samples, strict=True):
        so_far[index] = replace(so_far[index], samples=tuple(times))
    compared = _compared(so_far, candidates, baseline, settings)
    comparisons = [c for timing in compared for c in (timing.comparison, timing.against_ordinary) if c]
    precision = settings.timing.precision
    if precision is None:
        return bool(comparisons) and all(c.verdict != "inconclusive" for c in comparisons)
    return bool(comparisons) and all(c.is_within(precision) for c in comparisons)


def _compared(
    timings: Sequence[Latency], candidates: Sequence[Candidate], baseline: int, settings: Settings
) -> list[Latency]:
    """Return timings of one batch size, each compared with the baseline in the same runtime, and with itself in torch.

    A deploy form is compared with its ordinary form too.
    """
    baselines = {candidates[index].runtime: index for index in _baselines(candidates, baseline)}
    compared = []
    for index, (timing, candidate) in enumerate(zip(timings, candidates, strict=True)):
        first = baselines.get(candidate.runtime, index)
        if index != first:
            reference = timings[first]
            comparison = _against(reference, timing, settings)
            timing = replace(timing, baseline=reference.model, comparison=comparison)
        if candidate.ordinary is not None:
            ordinary = timings[candidate.ordinary]
            fused = _against(ordinary, timing, settings)
            timing = replace(timing, ordinary=ordinary.model, against_ordinary=fused)
        in_torch = candidate.twin(candidates, runtimes.USUAL)
        if candidate.runtime != runtimes.USUAL and in_torch is not None:
            timing = replace(timing, against_torch=_against(timings[in_torch], timing, settings))
        compared.append(timing)
    return compared


def _baselines(candidates: Sequence[Candidate], baseline: int) -> list[int]:
    """Return where the baseline stands in each runtime that it runs in."""
    used = dict.fromkeys(candidate.runtime for candidate in candidates)
    positions = [candidates[baseline].twin(candidates, runtime) for runtime in used]
    return [index for index in positions if index is not None]


def _against(reference: Latency, timing: Latency, settings: Settings) -> Comparison | None:
    """Return how times compare; ``None`` where there are none, or the clock saw no time pass.

    On a machine that was too busy the verdict is withheld.
    """
    times, baseline_times = timing.samples, reference.samples
    if not baseline_times or not times or min(*baseline_times, *times) <= 0:
        return None
    how, seed = settings.timing, settings.execution.seed
    comparison = paired.compare(
        baseline_times, times, delta=how.delta, resamples=how.resamples, seed=seed, confidence=how.confidence
    )
    return replace(comparison, verdict="withheld") if timing.load is not None and timing.load.is_busy else comparison


@dataclass
class _Watched:
    """A run that remembers whether it failed, so that the one among several is known."""

    run: Run
    failed: bool = False

    def __call__(self) -> None:
        try:
            self.run()
        except KeyboardInterrupt:
            raise
        except BaseException:
            self.failed = True
            raise


def _notify(progress: Progress | None, description: str) -> None:
    if progress:
        progress(description, 0.0, None)
