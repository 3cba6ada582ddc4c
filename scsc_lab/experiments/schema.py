"""Schema of rows: the kind of each key and the keys that a table needs, checked where rows enter."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from scsc_lab import runtimes
from scsc_lab.errors import InputError
from scsc_lab.records import Row

_NEEDED = {
    "run": ("command", "versions", "machine"),
    "claim": ("claim", "network"),
    "comparison": ("model", "resolution", "baseline"),
    "deploy": ("model", "resolution", "baseline"),
    "ablation": ("study", "variant", "model"),
    "noise": ("model",),
    "field": ("model",),
    "part": ("model", "by", "name"),
    "timing": ("runtime", "status"),
    "budget": ("model", "epochs", "runs"),
    "tuning": ("model", "key", "value", "grid"),
    "difficulty": ("model", "condition", "value"),
    "missing": ("model", "what", "reason"),
}
"""Keys that the rows of a table have."""

_IN_A_RUN = ("seed", "status", "curve", "data")
_IN_AN_EPOCH = ("epoch", "loss", "accuracy")

_TEXTS = frozenset(
    "baseline by check claim command commit contribution data device device_name dtype form head image_kind inferred "
    "latency_status layer layout map_file memory_format memory_format_asked method metric mode model module name "
    "nearest network ordinary ordinary_verdict probe_baseline probe_data probe_network probe_verdict processor "
    "published_source published_text quantity reason recipe runtime runtime_title stage status study table task time "
    "torch_verdict train_data variant verdict accuracy_verdict accuracy_status weights weights_file what "
    "erf_failure inputs training_memory_failure probe_under_trained skipped_files".split()
)
_NUMBERS = frozenset(
    "params macs activations bytes batch batch_size cores dead epochs epoch filled images initialisations load "
    "load_after load_before loss confidence measured of pair pairs pairs_used position published repeats samples "
    "seed seeds spread test_images threads train_images train_macs truncation units waiting p_value p_holm "
    "chance pair_correlation seed_pairs probe_epochs probe_pairs probe_p_holm skipped images_per_second".split()
)
_NUMBER = re.compile(
    r"(.+_)?(seconds|low|high|change|difference|mean|deviation|accuracy|ratio|pixels|share|floor|over_t|top1)|r\d+"
)
_SERIES = frozenset(
    "samples_seconds outliers centre map_size seeds_trained theoretical_pixels window_pixels resolution".split()
)
_MAPPINGS = frozenset("machine versions settings left_out runtime_details memory_format_seconds".split())
_ROWS = frozenset("stages runs curve seed_figures probe_budgets moments claims parts places timings changes".split())
_LARGEST = 1e300
"""Numbers beyond are none: they cannot be multiplied."""


def check(rows: Sequence[Row], where: str) -> None:
    """Raise InputError with one line if a row holds something of another kind than its key, or lacks a key.

    Args:
        rows: rows of a report or of a store.
        where: what they are called, a file's path say.
    """
    for number, row in enumerate(rows, start=1):
        if first_fault := fault(row):
            raise InputError(f"{where}, row {number}: {first_fault}")


def fault(row: Row) -> str:
    """Return what is wrong with a row, naming the key; empty if nothing is."""
    return next(_faults(row), "")


def is_number(value: object) -> bool:
    """Return whether a value is a number that can be computed with."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _faults(row: Row) -> Iterator[str]:
    table = row.get("table")
    missing = [key for key in _NEEDED.get(str(table), ()) if row.get(key) is None]
    if missing:
        yield f"a row of the table {table!r} has no {missing[0]}"
    for key, value in row.items():
        kind, is_valid = _kind(key)
        if kind and value is not None and not is_valid(value):
            yield f"{key} is {_short(value)}, not {kind}"
    yield from _nested_faults(row)


def _nested_faults(row: Row) -> Iterator[str]:
    for key in row.keys() & _ROWS:
        for inner in row[key] or ():
            if key == "curve":
                yield from _epoch_faults(inner)
            else:
                yield from (f"{key}: {nested}" for nested in _faults(inner))
    for run in row.get("runs") or ():
        yield from _lacking(run, _IN_A_RUN, "run")
        if run.get("status") == "complete" and run.get("accuracy") is None:
            yield "a complete run has no accuracy"
    if not _maps_to(row.get("left_out") or {}, _is_left_out):
        yield "left_out is not numbers by figure"
    if not _maps_to(row.get("roofs") or {}, lambda roof: _maps_to(roof, is_number)):
        yield f"roofs is {_short(row['roofs'])}, not numbers by kind"
    settings = (row.get("settings") or {}).get("latency") if row.get("table") == "run" else None
    if settings is not None and not _has_timing(settings):
        yield f"the latency among its settings is {_short(settings)}, not that of a latency measurement"


def _epoch_faults(epoch: Row) -> Iterator[str]:
    yield from _lacking(epoch, _IN_AN_EPOCH, "epoch")
    yield from _faults({key: value for key, value in epoch.items() if key != "accuracy"})
    if not _maps_to(epoch["accuracy"], lambda value: value is None or is_number(value)):
        yield f"accuracy of an epoch is {_short(epoch['accuracy'])}, not numbers by name"


def _lacking(row: Row, keys: Sequence[str], kind: str) -> Iterator[str]:
    yield from (f"a {kind} has no {key}" for key in keys if key not in row)


@functools.lru_cache(maxsize=4096)
def _kind(key: str) -> tuple[str, Callable[[Any], bool]]:
    """Return the kind of a key, in words, and what tells whether a value is of it; no words where any value will do."""
    bare = next((key.removeprefix(f"{name}_") for name in runtimes.registry() if key.startswith(f"{name}_")), key)
    if bare == "resolution":
        return "a height and a width in pixels", lambda value: _all(value, _is_side) and len(value) in (0, 2)
    if bare in _SERIES:
        return "a list of numbers", lambda value: _all(value, is_number)
    if bare in _TEXTS:
        return "a text", lambda value: isinstance(value, str)
    if bare in _MAPPINGS:
        return "an object", lambda value: isinstance(value, dict)
    if bare in _ROWS:
        return "a list of objects", lambda value: _all(value, lambda item: isinstance(item, dict))
    if re.fullmatch(r"(.+_)?(seconds|ratio)(_low|_high)?", bare):
        return "a number from 0 up", lambda value: is_number(value) and value >= 0
    if bare in _NUMBERS or _NUMBER.fullmatch(bare) or key.startswith("user:"):
        return "a number", is_number
    return "", bool


def _is_side(value: object) -> bool:
    return is_number(value) and isinstance(value, int) and value > 0


def _all(value: object, is_valid: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(is_valid, value))


def _maps_to(value: object, is_valid: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(map(is_valid, value.values()))


def _is_left_out(value: object) -> bool:
    groups = value if isinstance(value, dict) else {}
    return all(_all(groups.get(key), lambda item: item is None or is_number(item)) for key in ("images", "seeds"))


def _has_timing(settings: object) -> bool:
    timing = settings.get("timing") if isinstance(settings, Mapping) else None
    numbers = ("max_seconds", "resamples", "delta")
    return isinstance(timing, Mapping) and all(is_number(timing.get(key)) for key in numbers)


def _short(value: object) -> str:
    if isinstance(value, int) and not is_number(value):
        return "a number of very many digits" if not isinstance(value, bool) else repr(value)
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
