"""What a page's plots are drawn from, as plain data: any two measures, fields with their squares, curves."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scsc_lab.records import Row
from scsc_lab.report import comparison, tables
from scsc_lab.report.document import Curves, Maps
from scsc_lab.report.names import is_made_of, task
from scsc_lab.report.tables import Column, Table
from scsc_lab.units import one_line

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
    measures, plotted = [], list[Column]()
    for column in columns.values():
        values = [_scaled(column, row.get(str(column.key))) for row in rows]
        if sum(value is not None for value in values) > 1:
            ends = [comparison.interval(column, row) or (None, None) for row in rows]
            plotted.append(column)
            measures.append(
                {
                    "name": column.axis_label,
                    "better": column.better,
                    "values": values,
                    "low": [_scaled(column, low) for low, _ in ends],
                    "high": [_scaled(column, high) for _, high in ends],
                }
            )
    names = [one_line(str(row["model"])) for row in rows]
    sizes = [one_line(task(row)) for row in rows]
    places = {id(row): at for at, row in enumerate(rows)}
    return {
        "names": names,
        "sizes": sizes,
        "settings": [settings(row) for row in rows],
        "originals": [
            places[id(baseline)] if baseline is not None and is_made_of(row, baseline) else -1
            for row, baseline in zip(rows, tables.baselines(rows, rows), strict=True)
        ],
        "measures": measures,
        "fronts": [[_fronts(rows, x, y) for y in plotted] for x in plotted],
        "samples": [[round(1e3 * value, 4) for value in row.get("samples_seconds") or ()] for row in rows],
    }


def _scaled(column: Column, value: Any) -> float | None:
    return _digits(column.scale * value) if isinstance(value, (int, float)) else None


def _fronts(rows: Sequence[Row], x: Column, y: Column) -> list[list[int]]:
    """Return the rows on the Pareto front of two measures, one for every input size and data: other tasks.

    It is empty where a measure has no better end, or where intervals overlap.
    """
    by_task: dict[str, list[int]] = {}
    for at, row in enumerate(rows):
        members = by_task.setdefault(task(row), [])
        members += [at] if None not in (row.get(str(x.key)), row.get(str(y.key))) else []
    return [
        [members[at] for at in comparison.front([rows[at] for at in members], x, y)] for members in by_task.values()
    ]


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
