"""Receptive fields as blocks: the figures of merit, the one explanation, the tables, and the section of a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scsc_lab import units
from scsc_lab.analysis.protocol import SHARES, key
from scsc_lab.errors import InputError
from scsc_lab.records import Row, file_name
from scsc_lab.report import tables
from scsc_lab.report.document import Block, Details, Grid, Maps, Picture, Section
from scsc_lab.report.tables import Column, Table

if TYPE_CHECKING:
    from scsc_lab.analysis.field import Field

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
    "first inflates them. Theoretical: the side that the architecture allows; ≥: it goes on beyond the image. "
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

_MAPS_TOGETHER = 8
"""Maps in one picture; more are shared out over a picture per baseline."""

_TRUNCATED = 0.05
"""Mass in the ring from which on a field is said to be truncated."""


def _merit(name: str, title: str, text: Callable[[float | None], str], unit: str = "") -> Column:
    """Return the column of a figure of merit with its 95 % interval."""
    return Column((name, f"{name}_low", f"{name}_high"), title, partial(units.with_interval, text=text), unit=unit)


def _theoretical(values: tuple[Any, ...]) -> str:
    sides, reaches_border = values
    return "unknown" if sides is None else f"{'≥ ' if reaches_border else ''}{units.size(sides)}"


def _spread(seeds: Sequence[Row] | None) -> str:
    values = [figures["r50"] for figures in seeds or () if figures["r50"] is not None]
    return f"{units.share(min(values))} to {units.share(max(values))}" if values else ""


def _centre(place: Sequence[float] | None) -> str:
    return ", ".join(f"{side:.1f}" for side in place or ())


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
    Column("centre", "true centre", _centre, unit="px"),
)


def merits_table(rows: Sequence[Row]) -> Table:
    """Return all figures of merit down and fields across, two side by side and the others below; for a terminal.

    Args:
        rows: rows of :meth:`scsc_lab.analysis.field.Field.row`.
    """
    first, *others = (_transposed(rows[start : start + _ACROSS]) for start in range(0, len(rows), _ACROSS))
    notes = (*settings(rows), f"{RULE} {_OTHERS}", *of_one_draw(rows), *_oddities(rows))
    return Table(first.columns, first.rows, notes=notes, details=tuple(others), records=tuple(rows))


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
    shown = (*columns, _RADIUS, _THEORETICAL, _TRUNCATION)
    return Table(shown, tuple(rows), notes=(f"{RULE} {_OTHERS}", *of_one_draw(rows)))


def settings(rows: Sequence[Row]) -> list[str]:
    """Return what fields were measured on, one line for those that share it."""
    lines = {line: [_name(row) for row in rows if _setting(row) == line] for line in map(_setting, rows)}
    return [line if len(names) == len(rows) else f"{', '.join(names)}: {line}" for line, names in lines.items()]


def _setting(row: Row) -> str:
    weights = _WEIGHTS.get(str(row.get("weights")), "weights as given")
    draws = row.get("initialisations") or row.get("seeds") or 1
    drawn = f" of {draws} seeds" if draws > 1 else ""
    skipped = f" ({row.get('skipped_files') or row['skipped']} left out)" if row.get("skipped") else ""
    how = f"linear map, {_SIGNS.get(str(row.get('contribution')), 'absolute gradients')}"
    if row.get("method") == "replknet":
        how = "RepLKNet's log map, around pixel (H // 2, W // 2)"
    images = f"{row.get('images')} {row.get('image_kind')}"
    return f"Input {units.size(row['resolution'])}, {images}{skipped}, {weights}{drawn}; {how}."


def of_one_draw(rows: Sequence[Row]) -> list[str]:
    """Return one line on the fields of a single random initialisation, whose intervals hold for it alone."""
    drawn = [row for row in rows if row.get("weights") in ("random", "mixed") and "model" in row]
    single = [row for row in drawn if (row.get("initialisations") or row.get("seeds") or 1) == 1]
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


def section(rows: Sequence[Row], networks: Sequence[Row], folder: Path) -> Section:
    """Return the maps, in one picture or in one per baseline where they are many, the table, and all stages.

    Args:
        rows: rows of fields, with those of each stage under ``stages``.
        networks: networks, each with the label of its ``baseline``.
        folder: the report's folder, in which the maps lie.
    """
    drawn = [row for row in rows if "map_file" in row]
    baselines = {row["model"]: str(row.get("baseline") or "") for row in reversed(networks)}
    groups: dict[str, list[Row]] = {}
    for row in drawn:
        groups.setdefault(baselines.get(row["model"], "") if len(drawn) > _MAPS_TOGETHER else "", []).append(row)
    pictures = []
    for baseline, group in groups.items():
        whose = f" of {baseline} and its variants" if baseline else ""
        caption = f"{TITLE}{whose}, and the mass within each distance of the centre"
        name = "_".join(["receptive_fields", *([file_name(baseline)] if baseline else [])])
        pictures.append(_picture(name, caption, group, folder))
    table = Grid(fields_table(rows), "receptive_fields")
    return Section(TITLE, (*pictures, table, *(block for row in rows for block in _stages(row, folder))))


def _stages(row: Row, folder: Path) -> tuple[Block, ...]:
    """Return picture and table of the fields of a network's stages, folded away; nothing without any."""
    stages = [{"model": row["model"], "resolution": row["resolution"], **stage} for stage in row.get("stages") or ()]
    if not stages:
        return ()
    name, caption = f"stages_of_{file_name(str(row['model']))}", f"{TITLE} of the stages of {row['model']}"
    drawn = [stage for stage in stages if "map_file" in stage]
    picture = [_picture(f"fields_of_{name}", caption, drawn, folder)] if drawn else []
    blocks: tuple[Block, ...] = (*picture, Grid(fields_table(stages), f"receptive_fields_of_{name}"))
    return (Details(f"All stages of {row['model']}", blocks),)


def _picture(name: str, caption: str, rows: Sequence[Row], folder: Path) -> Picture:
    from scsc_lab.report.figures import erf

    maps = [_map(row, folder) for row in rows]
    behind = Maps(tuple(maps), tuple(map(_intervals, rows)))
    return Picture(name, caption, lambda options: erf.draw(maps, options, rows), behind)


def _intervals(row: Row) -> dict[float, tuple[float, float]]:
    ends = {share: (row.get(f"{key(share)}_low"), row.get(f"{key(share)}_high")) for share in SHARES}
    return {share: (low, high) for share, (low, high) in ends.items() if low is not None and high is not None}


def _map(row: Row, folder: Path) -> Field:
    """Return the receptive field whose map a row names.

    Raises:
        InputError: if the file lies outside the folder, cannot be read, or holds several fields.
    """
    from scsc_lab.analysis import mapfile

    fields = mapfile.load(_inside(folder, str(row["map_file"])))
    if len(fields) != 1:
        raise InputError(f"{row['map_file']!r} holds {len(fields)} fields, where its row is about one")
    return fields[0]


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder or below it, from a name that comes from elsewhere."""
    try:
        path = (folder / name).resolve()
        if not Path(name).is_absolute() and path.is_relative_to(folder.resolve()) and path != folder.resolve():
            return path
    except (OSError, ValueError, RuntimeError):
        pass
    raise InputError(f"the rows name the file {name!r}, which is not in the report's folder")


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
        f"before averaging; {which}. {' '.join(dict.fromkeys(map(_setting, rows)))}"
    ]
