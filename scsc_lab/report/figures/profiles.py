"""The profile of receptive fields: the share of the gradient's mass within each distance of the unit's centre."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scsc_lab.analysis.field import Field
from scsc_lab.analysis.profiles import Squares
from scsc_lab.analysis.protocol import SHARES, key
from scsc_lab.records import Row
from scsc_lab.report.figures import style

_LINES = ("-", "--", "-.", ":")


def draw(panel: Any, measured: Sequence[Field], names: Sequence[str], rows: Mapping[str, Row]) -> None:
    """Draw one curve a field: the mass within the centred square of each half side, with its 95 % interval.

    The interval is that of ``r(t)``, over images and initialisations, as a bar at each share of the tables.
    Distances are in pixels where all inputs have one size, else in sides of the input.

    Args:
        panel: matplotlib axes.
        measured: the fields.
        names: what they are called.
        rows: rows with the intervals of ``r(t)``, by model, for fields that hold the mean of their maps alone.
    """
    alike = len({field.setting.resolution for field in measured}) == 1
    for index, (field, name) in enumerate(zip(measured, names, strict=True)):
        setting = field.setting
        unit = 1.0 if alike else 1.0 / min(setting.resolution)
        squares = Squares.around(setting.resolution, setting.centre)
        masses = squares.masses(field.map)
        colour = style.COLOURS[index % len(style.COLOURS)]
        line = _LINES[index % len(_LINES)]
        panel.plot(squares.half_sides * unit, 100 * masses / masses[-1], color=colour, linestyle=line, label=name)
        row = field.row() if len(field.maps) > 1 else rows.get(setting.model, {})
        for share in SHARES:
            ends: list[Any] = [row.get(f"{key(share)}{end}") for end in ("_low", "_high")]
            if None not in ends:
                sides = np.interp(ends, squares.areas, squares.half_sides) * unit
                panel.plot(
                    sides, [100 * share] * 2, color=colour, linestyle="-", linewidth=1.0, marker="|", markersize=4
                )
    panel.set_xlim(left=0)
    panel.set_ylim(0, 100)
    panel.set_yticks([0, 25, 50, 75, 100])
    panel.grid(axis="y", color="0.9", linewidth=0.5)
    panel.set_axisbelow(True)
    panel.set_xlabel(f"half side of the centred square ({'pixels' if alike else 'sides of the input'})")
    panel.set_ylabel("mass inside (%)")
    panel.legend(loc="lower right", ncols=1 + len(measured) // 7, handlelength=2.2)
