"""What stores have of each network: what was measured of it, beside what it was timed, its runs, its fields. No torch.

Numbers of other settings, on more threads say, are of another entry: they are not to stand in one line of a table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from scsc_lab import metrics, units
from scsc_lab.architectures.network import Network
from scsc_lab.errors import InputError
from scsc_lab.experiments import kept
from scsc_lab.metrics import accuracy
from scsc_lab.records import Row
from scsc_lab.report import evidence
from scsc_lab.store import RowStore

MAPS = "fields"
"""Folder beside a store in which the maps of its rows lie."""

_SETTINGS = {"batch": "batch {}", "threads": "{} threads", "device_name": "{}", "dtype": "{}", "compile": "compile {}"}
"""What numbers of one network are told apart by, and how it is said."""

_RUN = ("seed", "status", "accuracy", "curve", "seconds", "test_images", *accuracy.SHARED)


@dataclasses.dataclass
class Entry:
    """What the stores have of one network at one input size, measured in one way.

    Attributes:
        base: its text form and input size.
        network: the network.
        row: what was measured of it alone, under its label.
        runs: its training runs, by what they share.
        fields: its receptive fields before and after training, by that and by the data.
        beside: what was measured of it side by side with others, by task, each with the place of the first of them.
    """

    base: str
    network: Network
    row: Row
    runs: dict[tuple[str, ...], list[Row]] = dataclasses.field(default_factory=dict)
    fields: dict[tuple[str, str], Row] = dataclasses.field(default_factory=dict)
    beside: dict[str, tuple[str, Row]] = dataclasses.field(default_factory=dict)


def entries(stores: Sequence[RowStore]) -> dict[str, Entry]:
    """Return what stores have, by a place for each; of two rows of one thing the last counts.

    Raises:
        InputError: if a row is not one of a measurement.
    """
    given = [(store, row) for store in stores for row in _latest(store)]
    ways = _ways(row for _, row in given)
    found: dict[str, Entry] = {}
    for store, row in given:
        for place, words in _places(row, ways):
            network = _network(row)
            label = ", ".join((str(row.get("model", row.get("network", ""))), *words))
            head = {"model": label, "network": _text(row), "resolution": list(row.get("resolution", ()))}
            _add(found.setdefault(place, Entry(_base(row), network, head)), place, row, store, ways)
    _tell_apart(found)
    return found


def _latest(store: RowStore) -> list[Row]:
    """Return the rows of whole tasks, the last of each."""
    held = kept.stored(store)
    placed = [row for row in store.rows if row.get("key") in held and kept.is_placed(row)]
    latest = list({(row["key"], row["position"]): row for row in placed}.values())
    firsts = {row["key"]: row for row in latest if row["position"] == 0}
    return [{**row, "first": firsts[row["key"]]} for row in latest]


def _text(row: Row) -> str:
    return str(row.get("network", row.get("model", "")))


def _base(row: Row) -> str:
    return f"{_text(row)} {list(row.get('resolution', ()))}"


def _network(row: Row) -> Network:
    text = _text(row)
    try:
        network = Network.read(text)
    except InputError:
        network = Network(text)  # a name that this version does not know is shown as it is
    label = str(row.get("model", text))
    return dataclasses.replace(network, label=label if label != str(network) else "")


def _way(row: Row) -> dict[str, str]:
    """Return how a row's numbers were measured; nothing of rows that are made of runs, or of fields."""
    if row["metric"] in ("training", "trained_field", "erf"):
        return {}
    return {key: str(row[key]) for key in _SETTINGS if row.get(key) is not None}


def _ways(rows: Iterable[Row]) -> dict[str, list[dict[str, str]]]:
    """Return the ways in which each network was measured; a way that says less than another is no other one."""
    found: dict[str, list[dict[str, str]]] = {}
    for row in sorted(rows, key=lambda row: -len(_way(row))):
        own, way = found.setdefault(_base(row), []), _way(row)
        if not any(_fits(way, other) for other in own):
            own.append(way)
    return found


def _fits(way: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return all(other.get(key, value) == value for key, value in way.items())


def _places(row: Row, ways: Mapping[str, list[dict[str, str]]]) -> list[tuple[str, list[str]]]:
    """Return where a row's numbers belong, each with the words that set it apart."""
    base, way = _base(row), _way(row)
    several = ways[base]
    fitting = [other for other in several if _fits(way, other)]
    differing = [key for key in _SETTINGS if len({other.get(key) for other in several}) > 1]
    found = []
    for other in fitting if way else fitting[:1]:
        words = [_SETTINGS[key].format(other[key]) for key in differing if key in other]
        found.append((" ".join((base, *words)), words))
    return found


def _add(own: Entry, place: str, row: Row, store: RowStore, ways: Mapping[str, list[dict[str, str]]]) -> None:
    bare = {key: value for key, value in row.items() if key not in (*kept.BOOKKEEPING, "first")}
    metric = metrics.registry().get(row["metric"])
    if row["metric"] == "training":
        _require(row, store)
        runs = own.runs.setdefault(accuracy.setting(row), [])
        runs[:] = sorted([one for one in runs if one["seed"] != row["seed"]] + [bare], key=lambda one: int(one["seed"]))
    elif row["metric"] == "trained_field":
        file = {"map_file": f"{MAPS}/{bare['map_file']}"} if "map_file" in bare else {}
        if file and not evidence.inside(store.path.parent, file["map_file"]).is_file():
            file, bare = {}, {key: value for key, value in bare.items() if key != "map_file"}
        own.fields[str(row.get("weights")), str(row.get("train_data"))] = {**bare, **file}
    elif row["of"] > 1 or (metric is not None and metric.together):
        first = next((at for at, _ in _places(row["first"], ways)), place)
        own.beside.setdefault(row["key"], (first, bare))  # of a network beside itself, the first
    else:
        own.row |= bare


def _require(row: Row, store: RowStore) -> None:
    missing = next((key for key in _RUN if key not in row), None)
    if missing is not None or type(row["seed"]) is not int:
        raise InputError(f"{store.path}: the run {row['key']} has no {missing or 'whole number as its seed'}")
    if type(row["accuracy"]) not in (int, float) and row["status"] == "complete":
        raise InputError(f"{store.path}: accuracy of the run {row['key']} is {row['accuracy']!r}, no number")


def _tell_apart(found: Mapping[str, Entry]) -> None:
    """Give a name of its own to each of several networks that have one label, or one network at several sizes."""
    labelled: dict[str, list[Entry]] = {}
    for one in found.values():
        labelled.setdefault(str(one.row["model"]), []).append(one)
    for label, several in labelled.items():
        texts = {one.row["network"] for one in several}
        sizes = {str(one.row["resolution"]) for one in several}
        for one in several:
            text = f" ({one.row['network']})" if len(texts) > 1 else ""
            size = f" at {units.size(one.row['resolution'])}" if len(sizes) > 1 else ""
            one.row["model"] = f"{label}{text}{size}"
