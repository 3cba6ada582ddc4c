"""What a page's plots are drawn from, as plain data: any two measures, fields with their squares, curves."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from statistics import quantiles
from typing import TYPE_CHECKING, Any

from scsc_lab.analysis import pareto
from scsc_lab.records import Row
from scsc_lab.report import tables
from scsc_lab.report.document import Curves, Maps
from scsc_lab.report.tables import Column, Table
from scsc_lab.report.text import one_line

if TYPE_CHECKING:
    from scsc_lab.analysis.field import Field

_MOST_PIXELS = 1_000_000
"""Pixels of all maps of a page; where there are more, squares of them are drawn as their mean."""

_LEVELS = 255
"""Steps of a map's scale in a page."""

_DIGITS = 6
"""Significant digits of a number that is plotted."""


def networks(table: Table, columns: Mapping[str, Column], settings: Callable[[Row], str]) -> dict[str, Any]:
    """Return what the plots need: every measure of two networks or more, with intervals, and the front of every two."""
    rows = table.rows
    measures = []
    for column in columns.values():
        values = [_scaled(column, row.get(str(column.key))) for row in rows]
        if sum(value is not None for value in values) > 1:
            ends = [_interval(column, row) for row in rows]
            measures.append(
                {
                    "name": column.axis_label,
                    "better": column.better,
                    "values": values,
                    "low": [low for low, _ in ends],
                    "high": [high for _, high in ends],
                }
            )
    names = [one_line(str(row["model"])) for row in rows]
    sizes = [one_line(tables.task(row)) for row in rows]
    places = {id(row): at for at, row in enumerate(rows)}
    return {
        "names": names,
        "sizes": sizes,
        "settings": [settings(row) for row in rows],
        "baselines": [-1 if baseline is None else places[id(baseline)] for baseline in tables.baselines(rows, rows)],
        "measures": measures,
        "fronts": [[_fronts(x, y, sizes) for y in measures] for x in measures],
        "samples": [[round(1e3 * value, 4) for value in row.get("samples_seconds") or ()] for row in rows],
    }


def _scaled(column: Column, value: Any) -> float | None:
    return _digits(column.scale * value) if isinstance(value, (int, float)) else None


def _interval(column: Column, row: Row) -> tuple[float | None, float | None]:
    """Return the ends of a number's interval: those of the row, or of a time the quartiles of its samples."""
    stem = str(column.key).removesuffix("_mean")
    ends = [row.get(f"{stem}_{end}") for end in ("low", "high")]
    samples = row.get("samples_seconds") if column.key == "median_seconds" else None
    if samples and len(samples) > 1:
        low, _, high = quantiles(samples, n=4, method="inclusive")
        ends = [low, high]
    return _scaled(column, ends[0]), _scaled(column, ends[1])


def _fronts(x: dict[str, Any], y: dict[str, Any], sizes: Sequence[str]) -> list[list[int]]:
    """Return the rows on the Pareto front of two measures, one for every input size and data: other tasks.

    It is empty where a measure has no better end.
    """
    fronts = []
    for size in dict.fromkeys(sizes):
        pairs = zip(x["values"], y["values"], sizes, strict=True)
        present = [
            index for index, (a, b, task) in enumerate(pairs) if task == size and a is not None and b is not None
        ]
        xs, ys = ([measure["values"][index] for index in present] for measure in (x, y))
        fronts.append([present[index] for index in pareto.front(xs, ys, x["better"], y["better"])])
    return fronts


def behind(numbers: Maps | Curves) -> dict[str, Any]:
    """Return what the plot of numbers that stand behind a figure needs."""
    return _maps(numbers) if isinstance(numbers, Maps) else _curves(numbers)


def _curves(curves: Curves) -> dict[str, Any]:
    lines = [
        {
            "name": one_line(line.name),
            "which": one_line(line.which),
            "measure": one_line(line.measure),
            "xs": [_digits(x) for x in line.xs],
            "ys": [None if y is None else _digits(y) for y in line.ys],
        }
        for line in curves.lines
    ]
    return {"kind": "curves", "across": one_line(curves.across), "lines": lines}


def _maps(maps: Maps) -> dict[str, Any]:
    """Return maps on one scale, each with the half side and ``r(t)`` of its squares for ``t`` of 1 % to 99 %."""
    from scsc_lab.report.figures import erf, style

    norm, label, _ = erf.scale(maps.fields)
    pixels = sum(math.prod(field.setting.resolution) for field in maps.fields)
    step = max(1, math.ceil(math.sqrt(pixels / _MOST_PIXELS)))
    colours = style.colours_of_map()
    stops = (0.0, *(level / 16 for level in range(1, 16)), 1.0)
    return {
        "kind": "maps",
        "label": label,
        "log": label.startswith("contribution"),
        "ends": [_digits(float(norm.vmin)), _digits(float(norm.vmax))],
        "colours": [[stop, "#" + "".join(f"{round(255 * part):02x}" for part in colours(stop)[:3])] for stop in stops],
        "fields": [
            _field(field, name, norm, step, intervals)
            for field, name, intervals in zip(maps.fields, erf.names(maps.fields), maps.intervals, strict=True)
        ],
    }


def _field(
    field: Field, name: str, norm: Any, step: int, intervals: Mapping[float, tuple[float, float]]
) -> dict[str, Any]:
    import numpy as np

    from scsc_lab.report.figures import erf

    setting = field.setting
    height, width = (side // step * step for side in setting.resolution)
    drawn = field.drawn[:height, :width].reshape(height // step, step, width // step, step).mean(axis=(1, 3))
    levels = np.clip(np.asarray(norm(np.maximum(drawn, norm.vmin / 2))) * _LEVELS, 0, _LEVELS).astype(np.uint8)
    squares, masses = erf.squares(field)
    shares = [percent / 100 for percent in range(1, 100)]
    areas = [squares.holding(masses, share) for share in shares]
    return {
        "name": one_line(name),
        "settings": one_line(", ".join(fact for fact in erf.facts(field) if fact)),
        "trained": setting.weights != "random",
        "shape": list(levels.shape),
        "step": step,
        "levels": base64.b64encode(levels.tobytes()).decode(),
        "centre": [_digits(place) for place in squares.centre],
        "halves": [_digits(float(np.interp(area, squares.areas, squares.half_sides))) for area in areas],
        "areas": [_digits(area) for area in areas],
        "intervals": {str(round(100 * share)): [_digits(end) for end in ends] for share, ends in intervals.items()},
    }


def _digits(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
