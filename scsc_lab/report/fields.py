"""Receptive fields as tables: the figures of merit, the one explanation, and sentences on the settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from scsc_lab import units
from scsc_lab.analysis import SHARES, key
from scsc_lab.records import Row
from scsc_lab.report import tables
from scsc_lab.report.tables import Column, Table
from scsc_lab.units import listed

TITLE = "Effective receptive fields"

TRAINED = "trained"
"""What a row's ``weights`` are where its field is that of training runs' last weights."""

RULE = (
    "r(t): share of the input's area in the smallest square around the unit's true centre that holds t of its "
    "gradient's mass; 95 % intervals are over images, and over initialisations where there are several."
)
"""The explanation of r(t)."""

_OTHERS = (
    "r/t is 1 for a uniform field. Luo's size: root of the number of pixels above 4.55 % of the largest. Filled: share "
    "of the theoretical field that those pixels cover. Both are computed per image, then averaged: averaging maps "
    "first inflates them. Theoretical: the side that the architecture allows; ≥: also beyond the image. "
    "Truncation: mass in the outer 5 % of the sides."
)
_WEIGHTS = {
    "random": "random weights",
    "file": "weights of a file",
    "own": "its own weights",
    "mixed": "weights of which some are random",
    TRAINED: "trained weights",
}
_SIGNS = {"abs": "absolute gradients", "relu": "positive gradients", "signed": "signed gradients"}
_ACROSS = 2
"""Fields side by side in 80 columns."""

_TRUNCATED = 0.05
"""Mass in the ring from which on a field counts as truncated."""


def _merit(name: str, title: str, text: Callable[[float | None], str], unit: str = "") -> Column:
    """Return the column of a figure of merit with its 95 % interval."""
    return Column((name, f"{name}_low", f"{name}_high"), title, partial(units.with_interval, text=text), unit=unit)


def _theoretical(values: tuple[Any, ...]) -> str:
    sides, reaches_border = values
    return "unknown" if sides is None else f"{'≥ ' if reaches_border else ''}{units.size(sides)}"


def _spread(seeds: Sequence[Row] | None) -> str:
    values = [figures["r50"] for figures in seeds or () if figures["r50"] is not None]
    return f"{units.share(min(values))} to {units.share(max(values))}" if values else ""


_AREAS = {share: _merit(key(share), f"r({100 * share:.0f} %)", units.share) for share in SHARES}
_RADIUS = _merit("radius50_pixels", "radius of 50 %", units.decimal, "px")
_THEORETICAL = Column(("theoretical_pixels", "theoretical_reaches_border"), "theoretical", _theoretical, unit="px")
_TRUNCATION = _merit("truncation", "truncation", units.share)
_MERITS = (
    *_AREAS.values(),
    Column("seed_figures", "r(50 %) of each seed", _spread),
    *(_merit(f"{key(share)}_over_t", f"r/t at {100 * share:.0f} %", units.ratio) for share in SHARES),
    _RADIUS,
    _merit("radius95_pixels", "radius of 95 %", units.decimal, "px"),
    _merit("luo_pixels", "Luo's size", units.decimal, "px"),
    _merit("sigma_x_pixels", "σx", units.decimal, "px"),
    _merit("sigma_y_pixels", "σy", units.decimal, "px"),
    _THEORETICAL,
    _merit("filled", "filled", units.share),
    _TRUNCATION,
    Column("centre", "true centre", lambda place: ", ".join(f"{side:.1f}" for side in place or ()), unit="px"),
)


def merits_table(rows: Sequence[Row]) -> Table:
    """Return all figures of merit down and fields across, two side by side and the others below; for a terminal.

    Args:
        rows: rows of :meth:`scsc_lab.analysis.field.Field.row`.
    """
    first, *further = (_transposed(rows[start : start + _ACROSS]) for start in range(0, len(rows), _ACROSS))
    notes = (*settings(rows), f"{RULE} {_OTHERS}", *of_one_draw(rows), *_oddities(rows))
    return Table(first.columns, first.rows, notes=notes, details=tuple(further), records=tuple(rows))


def _transposed(rows: Sequence[Row]) -> Table:
    across = [Column(str(number), _name(row)) for number, row in enumerate(rows)]
    lines = [
        {"figure": column.heading, **{str(number): column.cell(row) for number, row in enumerate(rows)}}
        for column in tables.filled(_MERITS, rows)
    ]
    return Table((Column("figure", "figure", number=False), *across), tuple(lines))


def fields_table(rows: Sequence[Row]) -> Table:
    """Return the main figures of merit, one row per field."""
    weights = [Column("weights", "weights", number=False)] if any(row.get("weights") == TRAINED for row in rows) else []
    areas = [_AREAS[share] for share in (0.20, 0.50, 0.95)]
    columns = (tables.MODEL, tables.INPUT, Column("stage", "stage", number=False), *weights, *areas)
    figures = (*columns, *(replace(column, optional=True) for column in (_RADIUS, _THEORETICAL, _TRUNCATION)))
    return Table(figures, tuple(rows), notes=(f"{RULE} {_OTHERS}", *of_one_draw(rows)))


def on_weights(rows: Sequence[Row]) -> str:
    """Return what random weights can show, with the fields after training beside those before; empty without any."""
    random = {row["model"]: row for row in reversed(rows) if row.get("weights") == "random" and row.get("r50")}
    trained = {row["model"]: row for row in reversed(rows) if row.get("weights") == TRAINED and row.get("r50")}
    if not random:
        return ""
    both = [name for name in reversed(random) if name in trained]
    moved = ", ".join(
        f"{name} from {units.share(random[name]['r50'])} to {units.share(trained[name]['r50'])}" for name in both
    )
    return (
        "At random weights a field shows what an architecture and its initial scales let through, not what a trained "
        "network uses. " + (f"Training moves r(50%) of {moved}." if moved else "No trained field is among these rows.")
    )


def settings(rows: Sequence[Row]) -> list[str]:
    """Return what fields were measured on, one line for those that share it."""
    shared = {line: [row for row in rows if _setting(row) == line] for line in map(_setting, rows)}
    lines = {f"{line}{_threads(alike)}.": [_name(row) for row in alike] for line, alike in shared.items()}
    return [line if len(names) == len(rows) else f"{listed(names)}: {line}" for line, names in lines.items()]


def _threads(rows: Sequence[Row]) -> str:
    """Return on how many threads fields were measured: ``, 1–2 threads``; nothing where no row knows."""
    numbers = sorted({row["field_threads"] for row in rows if row.get("field_threads")})
    text = "–".join(dict.fromkeys(map(str, numbers[:1] + numbers[-1:])))
    return f", {text} thread{'s' * (text != '1')}" if numbers else ""


def _setting(row: Row) -> str:
    weights = _WEIGHTS.get(str(row.get("weights")), "weights as given")
    draws = row.get("initialisations") or row.get("seeds") or 1
    drawn = f" of {draws} seeds" if draws > 1 else ""
    skipped = f" ({row.get('skipped_files') or row['skipped']} left out)" if row.get("skipped") else ""
    how = f"linear map, {_SIGNS.get(str(row.get('contribution')), 'absolute gradients')}"
    if row.get("method") == "replknet":
        how = "RepLKNet's log map, around pixel (H // 2, W // 2)"
    images = f"{row.get('images')} {row.get('image_kind')}"
    return f"Input {units.size(row['resolution'])}, {images}{skipped}, {weights}{drawn}; {how}"


def is_of_one_draw(row: Row) -> bool:
    """Return whether a row's field is that of a single random initialisation."""
    is_random = row.get("weights") in ("random", "mixed")
    return is_random and (row.get("initialisations") or row.get("seeds") or 1) == 1


def of_one_draw(rows: Sequence[Row]) -> list[str]:
    """Return one line on the fields of a single random initialisation, whose intervals hold for it alone."""
    single = [row for row in rows if "model" in row and is_of_one_draw(row)]
    names = ", ".join(dict.fromkeys(str(row["model"]) for row in single))
    return [f"{names}: intervals are of this initialisation; those of the architecture take several (--seeds 3)."][
        : len(single)
    ]


def _name(row: Row) -> str:
    return f"{row['model']} {row.get('stage', '')}".rstrip()


def _oddities(rows: Sequence[Row]) -> list[str]:
    from scsc_lab.analysis.jackknife import FEWEST_IMAGES

    notes = []
    for row in rows:
        name = _name(row)
        if row["truncation"] > _TRUNCATED:
            notes.append(f"TRUNCATED: {name} has {units.share(row['truncation'])} of its mass in the ring.")
        if row["rectified"] and row["method"] == "linear":
            notes.append(f"{name}: the unit is the sum of channels behind a ReLU; without it, it is constant.")
        if row["dead"]:
            maps = f"{row['dead']} of the {row['images'] * row['seeds']} maps"
            notes.append(f"{name}: left out, {maps}, in which the unit has no gradient.")
        if row["images"] < FEWEST_IMAGES:
            notes.append(f"{name}: no intervals, which take {FEWEST_IMAGES} images; there are {row['images']}.")
        if row["window_pixels"]:
            period = units.size([round(side) for side in row["window_pixels"]])
            notes.append(f"{name}: mean over a period of its windows, {period} pixels: {row['units']} units.")
    return notes


def of(network: Row, rows: Sequence[Row]) -> Row | None:
    """Return the last field of a network, at its input size and, where both were trained, of training with its data."""
    data = {run["data"] for run in network.get("runs") or ()}
    for row in reversed(rows):
        is_named = row["model"] == network["model"] or row.get("network", "") == network.get("network")
        is_sized = row.get("resolution") in (None, network["resolution"])
        if is_named and is_sized and (not data or row.get("train_data") in (None, *data)):
            return row
    return None


def joined(networks: Sequence[Row], rows: Sequence[Row]) -> list[Row]:
    """Return networks with the r(50 %) of their fields, and its difference to the baseline's."""
    from scsc_lab.analysis.field import difference

    keys = ("r50", "r50_low", "r50_high", "stage", "initialisations", "weights", "image_kind", "images")
    ends = ("r50_difference", "r50_difference_low", "r50_difference_high")
    result = []
    for row, baseline in zip(networks, tables.baselines(networks, networks), strict=True):
        field, reference = of(row, rows), None if baseline is None else of(baseline, rows)
        if field is not None:
            row = {**row, **{name: field.get(name) for name in keys}}
            if reference is not None and field is not reference:
                row |= dict(zip(ends, difference(field, reference, "r50"), strict=True))
        result.append(row)
    return result


def method(rows: Sequence[Row]) -> list[str]:
    """Return the sentence on how fields were measured; none without any."""
    if not rows:
        return []
    which = "as `scsc-lab erf`"
    if trained := [row for row in rows if row.get("weights") == TRAINED]:
        runs = trained[0].get("seeds_trained") or [0]
        which = f"at the first and the last weights of the training runs with seeds {runs[0]} to {runs[-1]}"
    return [
        "Receptive fields: gradient of the last stage's central units with respect to the input, each map normalised "
        f"before averaging; {which}. {' '.join(dict.fromkeys(f'{_setting(row)}.' for row in rows))}"
    ]
