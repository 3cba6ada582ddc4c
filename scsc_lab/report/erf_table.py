"""The table of ``scsc-lab erf``: figures down, fields across, each with its interval; the rows stay raw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from scsc_lab import units
from scsc_lab.analysis.jackknife import FEWEST_IMAGES
from scsc_lab.analysis.protocol import SHARES, key
from scsc_lab.records import Row
from scsc_lab.report import receptive_fields
from scsc_lab.report.tables import Column, Table

_ACROSS = 2
"""Fields side by side in 80 columns."""

_CONVENTION = (
    "r(t): share of the image's area in the smallest square around the true centre that holds t of the mass; r/t is 1 "
    "for a uniform field. Luo's size: root of the pixels above 4.55 % of the largest; filled: the part of the "
    "theoretical field that they are; both of one image's map, in the mean, since those of a mean of maps grow with "
    "their number. Truncation: mass in the ring of 5 % of the side along the border. (95 % interval over images, and "
    "over initialisations where there are several)"
)


def table(rows: Sequence[Row]) -> Table:
    """Return the table of rows of fields; with several, two side by side and the others below."""
    parts = [_part(rows[start : start + _ACROSS]) for start in range(0, len(rows), _ACROSS)]
    first, *others = parts
    return Table(first.columns, first.rows, notes=_notes(rows), details=tuple(others), records=tuple(rows))


def _part(rows: Sequence[Row]) -> Table:
    columns = [Column("figure", "figure", number=False)]
    columns += [Column(str(i), f"{row['model']} {row['stage']}") for i, row in enumerate(rows)]
    lines = []
    for name, text in _LINES.items():
        cells = {str(index): text(row) for index, row in enumerate(rows)}
        if any(cells.values()):
            lines.append({"figure": name, **cells})
    return Table(tuple(columns), tuple(lines))


def _interval(name: str, text: Callable[[float | None], str], row: Row) -> str:
    return units.with_interval((row[name], row[f"{name}_low"], row[f"{name}_high"]), text)


def _theoretical(row: Row) -> str:
    if row["theoretical_pixels"] is None:
        return "unknown"
    beyond = "≥ " if row["theoretical_reaches_border"] else ""
    return f"{beyond}{units.size(row['theoretical_pixels'])}"


def _spread(row: Row) -> str:
    values = [figures["r50"] for figures in row["seed_figures"] if figures["r50"] is not None]
    return f"{units.percentage(min(values))} to {units.percentage(max(values))}" if values else ""


def _centre(row: Row) -> str:
    return ", ".join(f"{place:.1f}" for place in row["centre"])


_Line = Callable[[dict[str, Any]], str]
_LINES: dict[str, _Line] = {
    **{f"r({100 * t:.0f} %), %": partial(_interval, key(t), units.percentage) for t in SHARES},
    "r(50 %) of each seed, %": _spread,
    **{f"r/t at {100 * t:.0f} %": partial(_interval, f"{key(t)}_over_t", units.ratio) for t in SHARES},
    "radius of 50 %, px": partial(_interval, "radius50_pixels", units.decimal),
    "radius of 95 %, px": partial(_interval, "radius95_pixels", units.decimal),
    "Luo's size, px": partial(_interval, "luo_pixels", units.decimal),
    "σx, px": partial(_interval, "sigma_x_pixels", units.decimal),
    "σy, px": partial(_interval, "sigma_y_pixels", units.decimal),
    "theoretical, px": _theoretical,
    "filled, %": partial(_interval, "filled", units.percentage),
    "truncation, %": partial(_interval, "truncation", units.percentage),
    "true centre, px": _centre,
}


def _notes(rows: Sequence[Row]) -> tuple[str, ...]:
    notes = []
    for text in dict.fromkeys(map(_setting, rows)):
        whose = [f"{row['model']} {row['stage']}" for row in rows if _setting(row) == text]
        notes.append(text if len(whose) == len(rows) else f"{', '.join(whose)}: {text}")
    notes += [_CONVENTION, *receptive_fields.of_one_draw(rows)]
    for row in rows:
        name = f"{row['model']} {row['stage']}"
        if row["truncation"] > 0.05:
            notes.append(f"TRUNCATED: {name} has {units.share(row['truncation'])} of its mass in the ring.")
        if row["rectified"] and row["method"] == "linear":
            notes.append(f"{name}: the unit is the sum of channels behind a ReLU; without it, it is constant.")
        if row["dead"]:
            of = f"{row['dead']} of the {row['images'] * row['seeds']} maps"
            notes.append(f"{name}: left out, {of}, in which the unit has no gradient.")
        if row["images"] < FEWEST_IMAGES:
            notes.append(f"{name}: no intervals, which take {FEWEST_IMAGES} images; there are {row['images']}.")
        if row["window_pixels"]:
            period = units.size([round(side) for side in row["window_pixels"]])
            notes.append(f"{name}: mean over a period of its windows, {period} pixels: {row['units']} units.")
    return tuple(notes)


def _setting(row: Row) -> str:
    weights = _WHOSE.get(row["weights"], "weights as given")
    seeds = f" of {row['seeds']} seeds" if row["seeds"] > 1 else ""
    skipped = f" ({row['skipped']} files skipped)" if row["skipped"] else ""
    how = (
        "RepLKNet's log map, around pixel (H // 2, W // 2)"
        if row["method"] == "replknet"
        else f"linear map, {_SIGNS[row['contribution']]}"
    )
    return (
        f"Input {units.size(row['resolution'])}, {row['images']} {row['image_kind']}{skipped}, {weights}{seeds}; {how}."
    )


_WHOSE = {
    "random": "random weights",
    "file": "weights of a file",
    "own": "its own weights",
    "mixed": "weights of which some are random",
    "trained": "trained weights",
}
_SIGNS = {"abs": "absolute gradients", "relu": "positive gradients", "signed": "signed gradients"}
