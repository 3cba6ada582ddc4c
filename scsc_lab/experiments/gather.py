"""Rows of any stores as the rows of a report: who is compared with whom, and what is a variant of what. No torch.

A store says what was measured of which network, and not why. A network is held against the one that it was timed
beside; else one with something put in against the one without, one with changes against the one without, and an SCSC
network against the network that it is made from, where that is in the stores too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence

from scsc_lab import metrics
from scsc_lab.architectures import catalog
from scsc_lab.architectures.network import Network
from scsc_lab.errors import InputError
from scsc_lab.experiments import kept, variants
from scsc_lab.metrics import accuracy
from scsc_lab.provenance import RunInfo
from scsc_lab.records import SCHEMA, Row
from scsc_lab.report import evidence, tables
from scsc_lab.store import RowStore

MAPS = "fields"
"""Folder beside a store in which the maps of its rows lie."""

SHARED = ("data", "recipe", "task", "epochs", "batch_size", "train_images", "test_images")
"""What runs share that may be compared."""

_SCSC = "scsc_"
_ONE_THING = ("table", "model", "claim", "study", "variant", "resolution", "weights", "what")
"""What tells rows of a report apart."""


@dataclasses.dataclass
class _Found:
    """What the stores have of one network: what was measured once, and its runs by what they share."""

    network: Network
    row: Row
    runs: dict[tuple[str, ...], list[Row]] = dataclasses.field(default_factory=dict)
    beside: str = ""
    fields: list[Row] = dataclasses.field(default_factory=list)


def rows(stores: Sequence[RowStore], reports: Sequence[Sequence[Row]], run: RunInfo) -> list[Row]:
    """Return the rows of one report from stores and other reports' rows, the run's first.

    Args:
        stores: stores of ``ablate``, ``train``, ``compare`` or a report under way.
        reports: rows of reports, each beginning with its run's.
        run: how this is made.

    Raises:
        InputError: if a row is not one of a measurement.
    """
    found: dict[str, _Found] = {}
    for store in stores:
        _take(store, found)
    everything = [row for store in stores for row in store.rows]
    header = _header(run, everything, reports)
    if not found and not reports:
        named = " and ".join(str(store.path) for store in stores) or "no store"
        raise InputError(f"no row in {named} is one of a measurement: name stores of ablate, train or compare")
    made = _joined([row for report in reports for row in report[1:]])
    compared: list[Row] = []
    ablated: list[Row] = []
    for experiment in _experiments(found):
        one, two = _of_experiment(experiment, found, named_twice=len(_experiments(found)) > 1)
        compared += one
        ablated += two
    compared = tables.across(compared, list(metrics.columns().values()))
    return [
        header,
        *_joined(
            [
                *made,
                *({"table": "comparison", **row} for row in compared),
                *({"table": "field", **row} for one in found.values() for row in one.fields),
                *({"table": "ablation", **row} for row in ablated),
            ]
        ),
    ]


def _joined(given: Sequence[Row]) -> list[Row]:
    """Return rows, each once: of two of one thing the first counts, and has what only the other one knows."""
    found: dict[str, Row] = {}
    for row in given:
        place = json.dumps([row.get(name) for name in _ONE_THING], default=str)
        other = found.get(place, row)
        alike = other.get("baseline") == row.get("baseline")
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


def _take(store: RowStore, found: dict[str, _Found]) -> None:
    """Add what a store has to what is known of each network; of two rows of one thing the last counts."""
    held = kept.stored(store)
    placed = [row for row in store.rows if row.get("key") in held and kept.is_placed(row)]
    latest: dict[tuple[str, int], Row] = {(row["key"], row["position"]): row for row in placed}
    baselines = {row["key"]: row for row in latest.values() if row["position"] == 0 and row["of"] > 1}
    for row in latest.values():
        text = str(row.get("network", row.get("model", "")))
        try:
            network = Network.read(text)
        except InputError:
            network = Network(text)  # a name that this version does not know is shown as it is
        label = str(row.get("model", text))
        network = dataclasses.replace(network, label=label if label != str(network) else "")
        head = {"model": label, "network": text, "resolution": list(row.get("resolution", ()))}
        own = found.setdefault(f"{text} {head['resolution']}", _Found(network, head))
        bare = {key: value for key, value in row.items() if key not in kept.BOOKKEEPING}
        if row["metric"] == "training":
            _require(row, ("seed", "status", "accuracy", "curve", "seconds", "test_images", *SHARED), store)
            runs = own.runs.setdefault(tuple(str(row.get(key)) for key in SHARED), [])
            runs[:] = [one for one in runs if one["seed"] != row["seed"]] + [{"model": label, **bare}]
            runs.sort(key=lambda one: int(one["seed"]))
        elif row["metric"] == "trained_field":
            file = {"map_file": f"{MAPS}/{bare['map_file']}"} if "map_file" in bare else {}
            if file and not evidence.inside(store.path.parent, file["map_file"]).is_file():
                file, bare = {}, {key: value for key, value in bare.items() if key != "map_file"}
            own.fields.append({**head, **bare, **file})
        else:
            if row["position"] > 0 and row["key"] in baselines:
                first = baselines[row["key"]]
                own.beside = f"{first.get('network', first.get('model'))} {list(first.get('resolution', ()))}"
            own.row |= bare


def _require(row: Row, keys: Iterable[str], store: RowStore) -> None:
    missing = next((key for key in keys if key not in row), None)
    if missing is not None or not isinstance(row["seed"], int):
        raise InputError(f"{store.path}: the run {row['key']} has no {missing or 'whole number as its seed'}")


def _experiments(found: Mapping[str, _Found]) -> list[tuple[str, ...]]:
    """Return what runs share, one for each kind of runs, in order; an empty one where there are none."""
    return list(dict.fromkeys(kind for one in found.values() for kind in one.runs)) or [()]


def _of_experiment(
    experiment: tuple[str, ...], found: Mapping[str, _Found], named_twice: bool
) -> tuple[list[Row], list[Row]]:
    """Return the rows of networks that are compared, and those of studies, of one kind of runs."""
    first = experiment == next(iter(_experiments(found)))
    own = {place: one for place, one in found.items() if experiment in one.runs or (first and not one.runs and one.row)}
    compared: list[Row] = []
    ablated: list[Row] = []
    against = {place: _baseline(place, one, own) for place, one in own.items()}
    studied = [place for place in own if _is_variant(own[place].network) and against[place] != place]
    columns = list(metrics.columns().values())
    heads = [place for place in own if place not in studied and against[place] == place]
    for head in heads:
        group = [head, *(p for p in own if p not in studied and p != head and _root(p, against) == head)]
        rows_ = [_row(own[place], experiment, named_twice, found) for place in group]
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


def _row(one: _Found, experiment: tuple[str, ...], named_twice: bool, found: Mapping[str, _Found]) -> Row:
    row = {"batch": 1, **one.row}
    if experiment in one.runs:
        row |= accuracy.summary(one.runs[experiment])
    if named_twice and len(one.runs) > 1:
        data, recipe, _, epochs, *_ = experiment
        row["model"] = f"{row['model']}, {data}, {recipe}, {epochs} epochs"
    return row


def _is_variant(network: Network) -> bool:
    return bool(network.overrides) and network.transplant is None and network.form == "ordinary"


def _baseline(place: str, one: _Found, own: Mapping[str, _Found]) -> str:
    """Return where the network stands that one is held against; itself if there is none."""
    size = str(one.row["resolution"])
    candidates = [one.beside] if one.beside else []
    network = dataclasses.replace(one.network, label="", weights="")
    if network.form == "deploy":
        candidates.append(f"{dataclasses.replace(network, form='ordinary').text} {size}")
    if network.transplant is not None:
        candidates.append(f"{dataclasses.replace(network, transplant=None, form='ordinary').text} {size}")
    if network.overrides:
        candidates.append(f"{dataclasses.replace(network, overrides=(), form='ordinary').text} {size}")
    bare = network.name.removeprefix(_SCSC)
    if bare != network.name and bare in catalog.CATALOG:
        candidates.append(f"{bare} {size}")
    return next((known for known in candidates if known in own and known != place), place)


def _studies(base: str, places: Sequence[str], own: Mapping[str, _Found], experiment: tuple[str, ...]) -> list[Row]:
    """Return the rows of the studies that variants belong to, the full network first in each."""
    named: dict[str, list[tuple[str, str]]] = {}
    network = own[base].network
    with contextlib.suppress(InputError):
        for variant in variants.built_in(network):
            named.setdefault(_identity(variant.network), []).append((variant.study, variant.name))
    studies: dict[str, list[tuple[str, str]]] = {}
    for place in places:
        words = own[place].network.text.removeprefix(network.text).strip("[]")
        for study, name in named.get(_identity(own[place].network), [("variants", words)]):
            studies.setdefault(study, []).append((name, place))
    full = _row(own[base], experiment, False, own)
    columns = list(metrics.columns().values())
    found = []
    for study, members in studies.items():
        order = [name for kinds in named.values() for own_study, name in kinds if own_study == study]
        members.sort(key=lambda member: order.index(member[0]) if member[0] in order else len(order))
        rows_ = [{"study": study, "variant": "full", **full}]
        rows_ += [{"study": study, "variant": name, **_row(own[p], experiment, False, own)} for name, p in members]
        found += tables.with_changes(rows_, columns, 0)
    return found


def _identity(network: Network) -> str:
    try:
        return json.dumps(network.identity(), sort_keys=True, default=str)
    except InputError:  # its file is not here
        return network.text
