"""What a report rests on: the claims, comparisons, ablations, fields and the noise floor, measured as rows."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from scsc_lab.analysis import mapfile
from scsc_lab.analysis.protocol import Protocol
from scsc_lab.errors import InputError
from scsc_lab.experiments import ablate, compare, fields, paper, speed, variants
from scsc_lab.models.subject import Subject, subjects
from scsc_lab.provenance import RunInfo, machine, versions
from scsc_lab.records import SCHEMA, Row, file_name
from scsc_lab.settings import Budget, Plan
from scsc_lab.store import RowStore
from scsc_lab.timing.result import CUT_SHORT

PAIRS = (("resnet50", "scsc_resnet50"), ("swin_tiny", "scsc_swin_tiny"), ("faceresnet", "scsc_faceresnet"))
"""Each SCSC network of the default report behind its baseline."""

ABLATED = ("scsc_swin_tiny",)
"""The networks of the default report that are ablated."""

METRICS = ("params", "macs", "activations", "latency", "erf", "top1")
"""What networks are compared by."""


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        plan: how latency is measured, in each comparison.
        protocol: how receptive fields are.
        studies: ablations that are made.
    """

    plan: Plan
    protocol: Protocol
    studies: tuple[str, ...]


QUICK = Effort(Plan(budget=Budget(24, 0.0, 5.0)), Protocol(samples=6), ("components",))
"""Under two minutes on two cores."""

FULL = Effort(Plan(budget=Budget(100, 0.0, 60.0)), Protocol(samples=32), tuple(variants.STUDIES))
"""Some ten minutes on two cores."""


@dataclass(frozen=True)
class Section:
    """One part of a report: what it is called while it is measured, and how it is measured."""

    name: str
    measure: Callable[[], list[Row]]


def measure(
    run: RunInfo,
    effort: Effort,
    store: RowStore,
    folder: Path,
    groups: Sequence[Sequence[Subject]] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Row]:
    """Measure all sections of a report and return its rows; sections that the store has are not measured again.

    Args:
        run: how the report is made; its row comes first.
        effort: how much is measured.
        store: where rows are kept as they are measured, so that an interrupted report goes on where it was.
        folder: where the maps of receptive fields go, each in a file that its row names.
        groups: networks that are compared, the baseline first in each; without them the networks of the paper, and
            its claims too.
        progress: told what is being measured, the number of sections done and to do.

    Raises:
        InputError: if a network does not take its input.
    """
    sections = list(_sections(effort, groups, folder))
    key = _key(effort, [subject for group in groups or () for subject in group], run.commit)
    done = {(row.get("section"), row.get("key")) for row in store.rows if row.get("table") == "done"}
    kept = [row for row in store.rows if row.get("key") == key and row.get("table") != "done"]
    for number, section in enumerate(sections):
        if (section.name, key) in done:
            continue
        if progress:
            progress(section.name, number, len(sections))
        kept = [row for row in kept if row["section"] != section.name]  # what an interruption left of it
        for row in section.measure():
            row = {**row, "section": section.name, "key": key}
            store.append(row)
            kept.append(row)
        store.append({"table": "done", "section": section.name, "key": key})
    order = {section.name: number for number, section in enumerate(sections)}
    kept.sort(key=lambda row: order.get(str(row["section"]), len(order)))
    settings = {"plan": asdict(effort.plan), "protocol": _plain(asdict(effort.protocol))}
    timed = next((row for row in kept if row["table"] == "comparison"), {})
    run = replace(run, settings=settings, device=str(timed.get("device", run.device)))
    device_name = {"device_name": timed["device_name"]} if "device_name" in timed else {}
    return [{"table": "run", "schema": SCHEMA, **run.row(), **device_name}, *map(_without_bookkeeping, kept)]


def _sections(effort: Effort, groups: Sequence[Sequence[Subject]] | None, folder: Path) -> Iterator[Section]:
    ablated = [subject for group in groups or () for subject in group]
    if groups is None:
        yield Section("claims of the paper", lambda: _in_table("claim", paper.claim_rows()))
        groups = [subjects(pair) for pair in PAIRS]
        ablated = subjects(ABLATED)
    for group in groups:
        yield Section(f"comparison {_names(group)}", lambda group=group: _comparison(group, effort))  # type: ignore[misc]
    first = groups[0][0]
    yield Section(f"noise floor, {first.label} against itself", lambda: _noise(first, effort))
    for subject in [subject for group in groups for subject in group]:
        name = f"receptive field of {subject.label}"
        yield Section(name, lambda subject=subject: _fields(subject, effort, folder))  # type: ignore[misc]
    for subject in ablated:
        if subject.entry and variants.resolve(subject.label).spec.scsc_stages:
            yield Section(f"ablation of {subject.label}", lambda subject=subject: _ablation(subject, effort))  # type: ignore[misc]


def _comparison(group: Sequence[Subject], effort: Effort) -> list[Row]:
    metrics = [metric for metric in METRICS if metric != "erf"]
    rows = compare.measure(group, metrics, plan=effort.plan)
    _check_whole(str(row["latency_status"]) for row in rows)
    return _in_table("comparison", rows)


def _noise(subject: Subject, effort: Effort) -> list[Row]:
    again = replace(subject, label=f"{subject.label}, again")
    timings = speed.measure([subject, again], effort.plan)
    _check_whole(timing.status for timing in timings)
    return _in_table("noise", [timing.row() for timing in timings])


def _fields(subject: Subject, effort: Effort, folder: Path) -> list[Row]:
    try:
        found = fields.measure(subject, effort.protocol)[-1]
    except InputError as error:  # a network without maps has all the rest
        return _in_table("missing", [{"model": subject.label, "what": "receptive field", "reason": str(error)}])
    file = f"fields/{file_name(subject.label)}.npz"
    mapfile.save([found.condensed()], folder / file)
    return _in_table("field", [{**found.row(), "map_file": file}])


def _ablation(subject: Subject, effort: Effort) -> list[Row]:
    network = variants.resolve(subject.label)
    tasks = ablate.tasks(variants.built_in(network, effort.studies), subject.resolution)
    return _in_table("ablation", list(ablate.run(tasks)))


def _check_whole(statuses: Iterable[str]) -> None:
    """Raise KeyboardInterrupt if timing was cut short, so that the section is measured again the next time."""
    if CUT_SHORT in statuses:
        raise KeyboardInterrupt


def _names(group: Sequence[Subject]) -> str:
    return " and ".join(subject.label for subject in group)


def _in_table(table: str, rows: Sequence[Row]) -> list[Row]:
    return [{"table": table, **row} for row in rows]


def _key(effort: Effort, subjects: Sequence[Subject], commit: str = "") -> str:
    """Return what makes two reports the same: effort, networks and weights, versions, machine and commit."""
    networks = [[subject.label, subject.weights and zlib.crc32(subject.weights.read_bytes())] for subject in subjects]
    identity = [_plain(asdict(effort)), networks, versions(), machine(), commit]
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _plain(value: dict[str, object]) -> dict[str, object]:
    found: dict[str, object] = json.loads(json.dumps(value, default=str))
    return found


def _without_bookkeeping(row: Row) -> Row:
    return {key: value for key, value in row.items() if key not in ("section", "key")}
