"""Rows of any stores as the rows of a report: who is compared with whom, and what is a variant of what. No torch.

A store says what was measured of which network, and not why. A network is held against the one that it was timed
beside; else one with something put in against the one without, one with changes against the one without, and an SCSC
network against the network that it is made from, where that is in the stores too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence

from scsc_lab import metrics
from scsc_lab.architectures import catalog
from scsc_lab.architectures.network import Network
from scsc_lab.errors import InputError
from scsc_lab.experiments import stored, variants
from scsc_lab.experiments.stored import Entry
from scsc_lab.metrics import accuracy
from scsc_lab.provenance import RunInfo
from scsc_lab.records import SCHEMA, Row
from scsc_lab.report import ablations, tables
from scsc_lab.store import RowStore

_SCSC = "scsc_"
_ONE_THING = (
    *(
        "table",
        "model",
        "claim",
        "study",
        "variant",
        "resolution",
        "batch",
        "weights",
        "train_data",
        "what",
        "by",
        "name",
    ),
)
"""What tells rows of a report apart."""

_SAID = {"batch_size": "batches of {}", "train_images": "{} training images", "test_images": "{} test images"}
"""How what tells trainings apart is said, beside data, recipe and epochs; what is said of nothing is said as it is."""


def rows(stores: Sequence[RowStore], reports: Sequence[Sequence[Row]], run: RunInfo) -> list[Row]:
    """Return the rows of one report from stores and other reports' rows, the run's first.

    Args:
        stores: stores of ``ablate``, ``train``, ``compare`` or a report under way.
        reports: rows of reports, each beginning with its run's.
        run: how this is made.

    Raises:
        InputError: if a row is not one of a measurement.
    """
    found = stored.entries(stores)
    header = _header(run, [row for store in stores for row in store.rows], reports)
    if not found and not reports:
        named = " and ".join(str(store.path) for store in stores) or "no store"
        raise InputError(f"no row in {named} is one of a measurement: name stores of ablate, train or compare")
    compared: list[Row] = []
    ablated: list[Row] = []
    for experiment in _experiments(found):
        one, two = _of_experiment(experiment, found)
        compared += one
        ablated += two
    fields = [
        {"table": "field", **{key: one.row[key] for key in ("model", "network", "resolution")}, **row}
        for one in found.values()
        for row in one.fields.values()
    ]
    joined = _joined(
        [
            *(row for report in reports for row in report[1:]),
            *({"table": "comparison", **row} for row in compared),
            *fields,
            *({"table": "ablation", **row} for row in ablated),
        ]
    )
    networks = [row for row in joined if row["table"] == "comparison"]
    adjusted = iter(tables.across(networks, list(metrics.columns().values())))
    return [header, *(next(adjusted) if row["table"] == "comparison" else row for row in joined)]


def _joined(given: Sequence[Row]) -> list[Row]:
    """Return rows, each once: of two of one thing the first counts, and has what only the other one knows."""
    found: dict[str, Row] = {}
    for row in given:
        place = json.dumps([row.get(name) for name in _ONE_THING], default=str)
        other = found.get(place, row)
        trained = {accuracy.setting(one["runs"][0]) for one in (row, other) if one.get("runs")}
        alike = other.get("baseline") == row.get("baseline") and len(trained) < 2
        found[place] = {**{key: value for key, value in row.items() if value is not None}, **other} if alike else other
    return list(found.values())


def _header(run: RunInfo, measured: Sequence[Row], reports: Sequence[Sequence[Row]]) -> Row:
    """Return the row on how it was made: machine and versions are those of the rows, where they say so."""
    said = [row["versions"] for row in measured if isinstance(row.get("versions"), dict)]
    versions: dict[str, list[str]] = {}
    for one in said:
        for name, version in one.items():
            own = versions.setdefault(str(name), [])
            own += [] if str(version) in own else [str(version)]
    first = dict(reports[0][0]) if reports else {}
    shared = {name: " and ".join(own) for name, own in versions.items()}
    row = {"table": "run", "schema": SCHEMA, **run.row(), "machine": {}, "versions": shared, "commit": "", **first}
    return {**row, "command": run.command, "gathered": True}


def _experiments(found: Mapping[str, Entry]) -> list[tuple[str, ...]]:
    """Return what runs share, one for each kind of runs, in order; an empty one where there are none."""
    return list(dict.fromkeys(kind for one in found.values() for kind in one.runs)) or [()]


def _of_experiment(experiment: tuple[str, ...], found: Mapping[str, Entry]) -> tuple[list[Row], list[Row]]:
    """Return the rows of networks that are compared, and those of studies, of one kind of runs."""
    first = experiment == next(iter(_experiments(found)))
    own = {place: one for place, one in found.items() if experiment in one.runs or (first and not one.runs)}
    compared: list[Row] = []
    ablated: list[Row] = []
    against = {place: _baseline(place, one, own) for place, one in own.items()}
    studied = [place for place in own if _is_variant(own[place].network, own[against[place]].network)]
    columns = list(metrics.columns().values())
    heads = [place for place in own if place not in studied and against[place] == place]
    for head in heads:
        group = [head, *(p for p in own if p not in studied and p != head and _root(p, against) == head)]
        rows_ = _group(group, own, experiment)
        changed = tables.with_changes(rows_, columns, 0)
        compared += [{**row, "baseline": rows_[0]["model"]} for row in changed]
    for base in dict.fromkeys(against[place] for place in studied):
        ablated += _studies(base, [p for p in studied if against[p] == base], own, experiment)
    return compared, ablated


def _root(place: str, against: Mapping[str, str]) -> str:
    seen: list[str] = []
    while against[place] != place and place not in seen:
        seen.append(place)
        place = against[place]
    return place


def _group(places: Sequence[str], own: Mapping[str, Entry], experiment: tuple[str, ...]) -> list[Row]:
    """Return the rows of networks that are held against the first of them.

    What was measured side by side is of the last time that it was beside the first; a ratio to another network is left
    out. The first has what it had beside most of the others.
    """
    head = places[0]
    tasks = {place: [task for task, (first, _) in own[place].beside.items() if first == head] for place in places[1:]}
    used = [task for task, _ in Counter(task for found in tasks.values() for task in found[-1:]).most_common(1)]
    rows_ = []
    for place in places:
        one = own[place]
        chosen = tasks.get(place, used)[-1:]
        row = {"batch": 1, **one.row, **(one.beside[chosen[0]][1] if chosen else _alone(one))}
        if experiment in one.runs:
            row["model"] = _called(one, experiment)
            row |= accuracy.summary([{**run, "model": row["model"]} for run in one.runs[experiment]])
        rows_.append(row)
    return rows_


def _alone(one: Entry) -> Row:
    """Return what was last measured of a network beside others, without what it came to against them."""
    last = [row for _, row in one.beside.values()][-1:]
    changes = [column.change for column in metrics.columns().values() if column.change is not None]
    against = {key for change in changes if change.how == "measured" for key in change.keys}
    return {key: value for row in last for key, value in row.items() if key not in against}


def _called(one: Entry, experiment: tuple[str, ...]) -> str:
    """Return a network's name; one that was trained in several ways has how it was trained in it."""
    if len(one.runs) == 1:
        return str(one.row["model"])
    said = dict(zip(accuracy.COMPARED, experiment, strict=True))
    words = [said.pop("data"), said.pop("recipe"), f"{said.pop('epochs')} epochs"]
    at = {key: accuracy.COMPARED.index(key) for key in said}
    words += [
        _SAID.get(key, "{}").format(word) for key, word in said.items() if len({k[at[key]] for k in one.runs}) > 1
    ]
    return ", ".join((str(one.row["model"]), *words))


def _is_variant(network: Network, base: Network) -> bool:
    """Return whether a network is another one with changes: a variant of it, for a study."""
    ordinary = network.transplant is None and network.form == "ordinary"
    changed = bool(network.overrides) and network.overrides != base.overrides
    return ordinary and changed and network.name == base.name


def _baseline(place: str, one: Entry, own: Mapping[str, Entry]) -> str:
    """Return where the network stands that one is held against; itself if there is none."""
    size = str(one.row["resolution"])
    beside = [first for first, _ in one.beside.values() if first != place]
    if beside and beside[-1] in own:
        return beside[-1]
    candidates = []
    network = dataclasses.replace(one.network, label="", weights="")
    if network.form == "deploy":
        candidates.append(dataclasses.replace(network, form="ordinary").text)
    if network.transplant is not None:
        candidates.append(dataclasses.replace(network, transplant=None, form="ordinary").text)
    if network.overrides:
        candidates.append(dataclasses.replace(network, overrides=(), form="ordinary").text)
    bare = network.name.removeprefix(_SCSC)
    if bare != network.name and bare in catalog.CATALOG:
        candidates.append(bare)
    way = place.removeprefix(one.base)
    for text in candidates:
        known = [other for other, entry in own.items() if entry.base == f"{text} {size}" and other != place]
        if known:
            return next((other for other in known if other.removeprefix(own[other].base) == way), known[0])
    return place


def _studies(base: str, places: Sequence[str], own: Mapping[str, Entry], experiment: tuple[str, ...]) -> list[Row]:
    """Return the rows of the studies that variants belong to, the full network first in each."""
    named: dict[str, list[tuple[str, str]]] = {}
    network = own[base].network
    with contextlib.suppress(InputError):
        for variant in variants.built_in(network):
            named.setdefault(accuracy.identity(variant.network.text), []).append((variant.study, variant.name))
    studies: dict[str, list[tuple[str, str]]] = {}
    for place in places:
        changed = own[place].network.overrides
        words = " ".join(f"{key}={value}" for key, value in changed if (key, value) not in network.overrides)
        for study, name in named.get(accuracy.identity(own[place].network.text), [("variants", words)]):
            studies.setdefault(study, []).append((name, place))
    columns = list(metrics.columns().values())
    found = []
    for study, members in studies.items():
        order = [name for kinds in named.values() for own_study, name in kinds if own_study == study]
        members.sort(key=lambda member: order.index(member[0]) if member[0] in order else len(order))
        rows_ = _group([base, *(place for _, place in members)], own, experiment)
        names = ["full", *(name for name, _ in members)]
        found += [{"study": study, "variant": name, **row} for name, row in zip(names, rows_, strict=True)]
    return ablations.with_changes(found, columns)
