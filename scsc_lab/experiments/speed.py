"""The latency of networks: counted, then timed by the mechanisms of :mod:`scsc_lab.timing`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scsc_lab.experiments.size import count_subject
from scsc_lab.models.stages import stages
from scsc_lab.models.subject import Subject
from scsc_lab.records import Count
from scsc_lab.settings import Plan
from scsc_lab.timing import breakdown, latency
from scsc_lab.timing.breakdown import Breakdown
from scsc_lab.timing.clock import Clock
from scsc_lab.timing.latency import Candidate, Progress
from scsc_lab.timing.result import Timing


def measure(
    subjects: Sequence[Subject],
    plan: Plan,
    *,
    baseline: int = 0,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> list[Timing]:
    """Return timings of networks, one a batch size and network; see :func:`scsc_lab.timing.latency.measure`."""
    counts = [[_count(subject, plan, batch).macs for subject in subjects] for batch in plan.batches]
    timings = latency.measure(_candidates(subjects, plan), plan, baseline=baseline, clock=clock, progress=progress)
    found = []
    for timing, macs, reference in zip(
        timings,
        [macs for row in counts for macs in row],
        [row[baseline] for row in counts for _ in row],
        strict=True,
    ):
        ratio = macs / reference if timing.baseline and reference else None
        found.append(replace(timing, macs=macs, macs_ratio=ratio))
    return found


def broken_down(
    subjects: Sequence[Subject],
    plan: Plan,
    by: str,
    *,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> list[Breakdown]:
    """Return the parts of networks; see :func:`scsc_lab.timing.breakdown.measure`."""
    candidates = _candidates(subjects, plan)
    counts = [_count(subject, plan, batch) for subject in subjects for batch in plan.batches]
    divided = []
    if by == "stage":
        for subject, candidate in zip(subjects, candidates, strict=True):
            divided.append(stages(subject.make_empty("meta"), (candidate.channels, *candidate.resolution)))
    found = []
    timed = breakdown.measure(candidates, plan, by, divided, clock=clock, progress=progress)
    for index, (one, count) in enumerate(zip(timed, counts, strict=False)):
        parts = count.by_stage(divided[index // len(plan.batches)]) if by == "stage" else count.by_module()
        macs = {part.name: part.macs for part in parts}
        found.append(replace(one, whole=replace(one.whole, macs=count.macs), macs=macs))
    return found


def _candidates(subjects: Sequence[Subject], plan: Plan) -> list[Candidate]:
    ordinary: dict[str, int] = {}
    found = []
    for index, subject in enumerate(subjects):
        own = ordinary.get(subject.label.removesuffix(" (deploy)")) if subject.form == "deploy" else None
        ordinary.setdefault(subject.label, index)
        resolution = plan.resolution or subject.resolution
        found.append(Candidate(subject.label, subject.make, resolution, subject.channels, subject.form, own))
    return found


def _count(subject: Subject, plan: Plan, batch: int) -> Count:
    """Return the count, which also finds an input that the network does not take."""
    resolution = plan.resolution or subject.resolution
    subject.check_resolution(resolution)
    return count_subject(subject, (batch, subject.channels, *resolution))
