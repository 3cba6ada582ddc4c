"""The latency of modules, side by side: made, laid out, warmed up, timed in rounds and compared with one of them."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from scsc_lab.analysis import paired
from scsc_lab.analysis.paired import Comparison
from scsc_lab.errors import InputError, last_line
from scsc_lab.execution import device as devices
from scsc_lab.execution import load, memory
from scsc_lab.execution.passes import Run, dtype_of, lay_out, one_pass, placed, random_input, using_threads
from scsc_lab.settings import Execution, Plan
from scsc_lab.timing import clock as clocks
from scsc_lab.timing import layouts
from scsc_lab.timing.clock import Clock
from scsc_lab.timing.result import COMPLETE, CUT_SHORT, OUT_OF_MEMORY, Timing
from scsc_lab.timing.rounds import WarmUp, interleave, warm_up

Progress = Callable[[str, float, float | None], None]
"""Told what is being done, the seconds it has taken and those still expected (``None``: not known)."""

_MOST_NAMES = 3


@dataclass(frozen=True)
class Candidate:
    """A module to be timed.

    Attributes:
        label: what it is called.
        make: returns it with weights, random ones from torch's global generator.
        resolution: input height and width, in pixels.
        channels: input channels.
        form: ``ordinary`` or ``deploy``.
        ordinary: position of its ordinary form among those it is timed with, which it is compared with too.
    """

    label: str
    make: Callable[[], nn.Module]
    resolution: tuple[int, int]
    channels: int = 3
    form: str = "ordinary"
    ordinary: int | None = None

    @property
    def module(self) -> object:
        """What makes two candidates one module."""
        return self.make, self.resolution, self.channels


def measure(
    candidates: Sequence[Candidate],
    plan: Plan,
    *,
    baseline: int = 0,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> list[Timing]:
    """Time modules side by side, at each batch size, and compare them with one of them.

    Args:
        candidates: the modules; those with an equal ``make`` and input are one module, timed against itself.
        plan: what to measure.
        baseline: which of them the others are compared with.
        clock: in place of the device's own.
        progress: told what is being done.

    Returns:
        One timing a batch size and candidate. A keyboard interrupt ends it with what has been measured so far, marked
        ``cut short``; only where nothing has is it passed on.

    Raises:
        InputError: if the device is not there or cannot compute in the type, or a module fails on the input.
    """
    device, execution = settled(plan.execution)
    clock = clock or clocks.of(device)
    empty = [[blank(candidate, batch, plan, execution, clock) for candidate in candidates] for batch in plan.batches]
    found: list[Timing] = []
    with using_threads(execution.threads), memory.limited(device, unless=execution.compile):
        modules: dict[object, nn.Module] = {}
        try:
            for candidate in candidates:
                if candidate.module not in modules:
                    _tell(progress, f"building {candidate.label}")
                    modules[candidate.module] = made(candidate, execution, plan.seed)
            for timings in empty:
                found += _at_batch(candidates, modules, timings, plan, baseline, clock, progress)
                if any(timing.status == CUT_SHORT for timing in found):
                    break
        except KeyboardInterrupt:
            pass
    found += [timing for timings in empty for timing in timings][len(found) :]
    if not any(timing.samples or timing.status == OUT_OF_MEMORY for timing in found):
        raise KeyboardInterrupt
    return found


def settled(execution: Execution) -> tuple[torch.device, Execution]:
    """Return the device that is meant, and the execution with its name, if it can compute in the type."""
    device = devices.find(execution.device)
    devices.check_dtype(device, dtype_of(execution))
    return device, replace(execution, device=str(device))


def made(candidate: Candidate, execution: Execution, seed: int) -> nn.Module:
    """Return a module as it runs, with weights; random ones are seeded.

    Raises:
        InputError: if it cannot be made, or its weights have no sizes yet.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            model = candidate.make()
        tensors: list[Tensor] = [*model.parameters(), *model.buffers()]
        if any(is_lazy(tensor) for tensor in tensors):
            raise InputError(f"{candidate.label} has lazy modules, of no size before their first input: run it once")
        if any(tensor.is_inference() for tensor in tensors):
            raise InputError(f"{candidate.label} was made in inference mode: make it outside of torch.inference_mode()")
        return placed(model, execution)
    except (KeyboardInterrupt, InputError):
        raise
    except BaseException as error:  # whatever the module's own code raises, an exit too
        raise InputError(f"{candidate.label} cannot be made: {last_line(error)}") from error


def blank(candidate: Candidate, batch: int, plan: Plan, execution: Execution, clock: Clock) -> Timing:
    """Return a timing with everything but the time."""
    name = devices.describe(torch.device(execution.device))
    return Timing(
        candidate.label, candidate.form, candidate.resolution, batch, execution, name, clock.name, plan, CUT_SHORT
    )


def _at_batch(
    candidates: Sequence[Candidate],
    modules: Mapping[object, nn.Module],
    timings: Sequence[Timing],
    plan: Plan,
    baseline: int,
    clock: Clock,
    progress: Progress | None,
) -> list[Timing]:
    """Return timings of all at one batch size; one that runs out of memory says so and is left out."""
    found = list(timings)
    runs: dict[int, Run] = {}
    warmed: dict[object, int] = {}
    for index, candidate in enumerate(candidates):
        timing = found[index]
        try:
            if (first := warmed.setdefault(candidate.module, index)) in runs:
                twin = replace(found[first], model=timing.model, form=timing.form)
                runs[index], found[index] = runs[first], twin
                continue
            _tell(progress, f"warming up {timing.model} at batch {timing.batch}")
            shape = (timing.batch, candidate.channels, *candidate.resolution)
            runs[index], found[index] = warmed_up(modules[candidate.module], shape, timing, plan, clock)
        except KeyboardInterrupt:
            return found
        except BaseException as error:  # whatever the network's own code raises, an exit too
            found[index] = failed(timing, error)
    gc.collect()
    while runs:
        names = [found[index].model for index in runs]
        together = ", ".join(names) if len(names) <= _MOST_NAMES else f"{len(names)} networks"
        what = f"timing {together} at batch {timings[0].batch}"
        watched = {index: _Watched(run) for index, run in runs.items()}
        again = [watched[baseline]] if plan.noise and baseline in watched else []
        before = load.average()
        try:
            rounds = interleave(
                [*watched.values(), *again],
                plan.budget,
                clock,
                seed=plan.seed,
                progress=functools.partial(progress, what) if progress else None,
            )
        except BaseException as error:
            guilty = [index for index, run in watched.items() if run.failed]
            if not guilty:
                raise
            for index in guilty:
                found[index] = failed(found[index], error)
                del runs[index]
            continue
        status = CUT_SHORT if rounds.cut_short else COMPLETE
        machine = load.Load(before, load.average(), load.cores())
        for samples, index in zip(rounds.samples, runs, strict=False):
            found[index] = replace(found[index], status=status, samples=samples, repeats=rounds.repeats, load=machine)
        noise = _against(found[baseline].samples, rounds.samples[-1], plan) if again else None
        return _compared([replace(timing, noise=noise) for timing in found], candidates, baseline, plan)
    return _compared(found, candidates, baseline, plan)


def warmed_up(model: nn.Module, shape: Sequence[int], timing: Timing, plan: Plan, clock: Clock) -> tuple[Run, Timing]:
    """Return a module's pass, warmed up in the layout asked for or the faster one, and what that took."""
    execution = timing.execution

    def run_in(layout: str) -> Run:
        lay_out(model, layout)
        laid_out = replace(execution, memory_format=layout)
        return one_pass(model, random_input(shape, laid_out, plan.seed), laid_out)

    asked = execution.memory_format
    passes = [run_in(layouts.CONTIGUOUS if asked == "auto" else asked)]
    first = clock.time(passes[0])  # pays for what is done only once, in memory too
    tried = layouts.compare(run_in, clock, plan.warm_up_seconds) if asked == "auto" else layouts.Layouts()
    layout = tried.faster if asked == "auto" else asked
    passes.clear()
    model.zero_grad(set_to_none=True)

    def fresh_pass() -> float:
        passes.append(run_in(layout))
        return clock.time(passes[0])

    peak = memory.peak(fresh_pass, torch.device(execution.device), memory.weight_bytes(model))
    warm = warm_up(passes[0], clock, plan.warm_up_seconds)
    warm = WarmUp(warm.runs + tried.runs + 2, warm.seconds + tried.seconds + first, first, warm.settled)
    execution = replace(execution, memory_format=layout)
    return passes[0], replace(timing, execution=execution, tried=tried.fastest, memory=peak, warm_up=warm)


def failed(timing: Timing, error: BaseException) -> Timing:
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


def _compared(timings: Sequence[Timing], candidates: Sequence[Candidate], baseline: int, plan: Plan) -> list[Timing]:
    """Return timings of one batch size, each compared with the baseline, a deploy form with its ordinary form too."""
    reference = timings[baseline]
    found = []
    for index, (timing, candidate) in enumerate(zip(timings, candidates, strict=True)):
        if index != baseline:
            comparison = _against(reference.samples, timing.samples, plan)
            timing = replace(timing, baseline=reference.model, comparison=comparison)
        if candidate.ordinary is not None:
            ordinary = timings[candidate.ordinary]
            fused = _against(ordinary.samples, timing.samples, plan)
            timing = replace(timing, ordinary=ordinary.model, against_ordinary=fused)
        found.append(timing)
    return found


def _against(reference: Sequence[float], times: Sequence[float], plan: Plan) -> Comparison | None:
    """Return how times compare; ``None`` where there are none, or the clock saw no time pass."""
    if not reference or not times or min(*reference, *times) <= 0:
        return None
    return paired.compare(reference, times, delta=plan.delta, resamples=plan.resamples, seed=plan.seed)


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


def _tell(progress: Progress | None, what: str) -> None:
    if progress:
        progress(what, 0.0, None)
