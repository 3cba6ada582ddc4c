"""The profile of receptive fields: the share of the gradient's mass within each distance of the unit's centre."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scsc_lab.analysis.field import Field
from scsc_lab.analysis.profiles import Array, Squares
from scsc_lab.analysis.protocol import SHARES, key
from scsc_lab.records import Row
from scsc_lab.report.figures import style

_LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (9, 2)), (0, (1, 2.5)))
"""Dashes that go with the colours, for readers without colour."""


def draw(
    panel: Any, measured: Sequence[Field], names: Sequence[str], rows: Sequence[Row], *, beside: bool = False
) -> None:
    """Draw one curve a field: the mass within the centred square of each half side, in its 95 % interval as a band.

    The interval is that of ``r(t)``, over images and initialisations, at each share of the tables; between them the
    band is as wide, relative to the curve, as they say in proportion. Distances are in pixels where all inputs have one
    size, else in sides of the input.

    Args:
        panel: matplotlib axes.
        measured: the fields.
        names: what they are called.
        rows: rows with the intervals of ``r(t)``, for fields that hold the mean of their maps alone.
        beside: whether what curves are called stands beside the plot.
    """
    from matplotlib.patches import Patch

    banded = False
    alike = len({field.setting.resolution for field in measured}) == 1
    for index, (field, name) in enumerate(zip(measured, names, strict=True)):
        setting = field.setting
        unit = 1.0 if alike else 1.0 / min(setting.resolution)
        squares = Squares.around(setting.resolution, setting.centre)
        masses = squares.masses(field.map)
        parts = masses / masses[-1]
        colour = style.COLOURS[index % len(style.COLOURS)]
        line = _LINES[index % len(_LINES)]
        low, high = _band(field.row() if len(field.maps) > 1 else _row(rows, field), squares, masses, parts)
        if low is not None:
            panel.fill_betweenx(100 * parts, low * unit, high * unit, color=colour, alpha=0.2, linewidth=0)
            banded = True
        panel.plot(squares.half_sides * unit, 100 * parts, color=colour, linestyle=line, label=name)
    panel.set_xlim(left=0)
    panel.set_ylim(0, 100)
    panel.set_yticks([0, 25, 50, 75, 100])
    panel.grid(axis="y", color="0.9", linewidth=0.5)
    panel.set_axisbelow(True)
    panel.set_xlabel(f"half side of the centred square ({'pixels' if alike else 'sides of the input'})")
    panel.set_ylabel("mass inside (%)")
    handles = [*panel.lines, *([Patch(color="0.85", label="95 % interval")] if banded else [])]
    place: Any = {"loc": "lower right", "ncols": 1 + len(measured) // 8}
    if beside:
        place = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.03), "borderaxespad": 0.0}
    panel.legend(handles=handles, handlelength=3.2, **place)


def _row(rows: Sequence[Row], field: Field) -> Row:
    """Return the row of a field: of its network and stage, with its weights."""
    setting = field.setting
    said = {"model": setting.model, "stage": setting.stage, "weights": setting.weights}
    return next((row for row in rows if all(row.get(key, own) == own for key, own in said.items())), {})


def _band(row: Row, squares: Squares, masses: Array, parts: Array) -> tuple[Any, Any]:
    """Return the half sides at both ends of the interval, for every part of the mass; nothing where none is known."""
    ends = {share: [row.get(f"{key(share)}{end}") for end in ("_low", "_high")] for share in SHARES}
    known = {share: own for share, own in ends.items() if None not in own}
    if not known:
        return None, None
    areas = [squares.holding(masses, share) for share in known]
    middles = np.interp(areas, squares.areas, squares.half_sides)
    found = []
    for end in (0, 1):
        sides = np.interp([own[end] for own in known.values()], squares.areas, squares.half_sides)
        found.append(squares.half_sides * np.interp(parts, list(known), sides / middles))
    return found[0], found[1]
