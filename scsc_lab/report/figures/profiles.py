"""Profiles of receptive fields: the mass within each distance of the centre, a curve per field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scsc_lab.analysis import SHARES, key
from scsc_lab.analysis.field import Field
from scsc_lab.analysis.figures_of_merit import Array, Squares
from scsc_lab.records import Row
from scsc_lab.report import names as naming
from scsc_lab.report.figures import style
from scsc_lab.report.names import shortened_apart


def draw(panel: Any, measured: Sequence[Field], rows: Sequence[Row], *, named_beside: bool = False) -> None:
    """Draw one curve per field: the mass within the centred square of each half side, in its 95 % interval as a band.

    The interval is that of ``r(t)`` at each share of the tables, and interpolated relative to the curve in between.
    Distances are in pixels where all inputs have one size, else in sides of the input.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    banded = False
    alike = are_alike(measured)
    networks = [{**_row_of(field, rows), "model": field.setting.model} for field in measured]
    labelled = naming.labelled(networks)
    looks = dict(zip(labelled, style.looks([networks[at] for at in labelled]), strict=True))
    for index, (field, name) in enumerate(zip(measured, names(measured), strict=True)):
        setting = field.setting
        unit = 1.0 if alike else 1.0 / min(setting.resolution)
        around = Squares.around(setting.resolution, setting.centre)
        masses = around.masses(field.map)
        parts = masses / masses[-1]
        if index not in labelled:
            panel.plot(around.half_sides * unit, 100 * parts, color="0.8", linewidth=0.8, zorder=1)
            continue
        look = looks[index]
        low, high = _band(field.row() if len(field.maps) > 1 else _row_of(field, rows), around, masses, parts)
        if low is not None:
            panel.fill_betweenx(100 * parts, low * unit, high * unit, color=look.colour, alpha=0.2, linewidth=0)
            banded = True
        panel.plot(
            around.half_sides * unit, 100 * parts, color=look.colour, linestyle=look.dashes, label=name, zorder=2
        )
    panel.set_xlim(left=0)
    panel.set_ylim(0, 100)
    panel.set_yticks([0, 25, 50, 75, 100])
    panel.grid(axis="y", color="0.9", linewidth=0.5)
    panel.set_axisbelow(True)
    panel.set_xlabel(f"half side of the centred square ({'pixels' if alike else 'sides of the input'})")
    panel.set_ylabel("mass inside (%)")
    handles = [line for line in panel.lines if not line.get_label().startswith("_")]
    if len(labelled) < len(measured):
        handles.append(Line2D([], [], color="0.8", linewidth=0.8, label=f"{len(measured) - len(labelled)} others"))
    handles += [Patch(color="0.85", label="95 % interval")] if banded else []
    beside_panel = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.03), "borderaxespad": 0.0}
    panel.legend(handles=handles, handlelength=3.2, **(beside_panel if named_beside else {"loc": "best"}))


def _row_of(field: Field, rows: Sequence[Row]) -> Row:
    """Return the row of a field: of its network and stage, with its weights."""
    setting = field.setting
    keys = ("model", "stage", "weights")
    return next((row for row in rows if all(row.get(name) in (None, getattr(setting, name)) for name in keys)), {})


def _band(row: Row, around: Squares, masses: Array, parts: Array) -> tuple[Any, ...]:
    """Return the half sides at both ends of the interval for every part of the mass, or twice None."""
    ends = {share: [row.get(f"{key(share)}{end}") for end in ("_low", "_high")] for share in SHARES}
    intervals = {share: interval for share, interval in ends.items() if None not in interval}
    if not intervals:
        return None, None
    areas = [around.holding(masses, share) for share in intervals]
    middles = np.interp(areas, around.areas, around.half_sides)
    low, high = (np.interp(areas, around.areas, around.half_sides) for areas in zip(*intervals.values(), strict=True))
    relative = (np.interp(parts, list(intervals), sides / middles) for sides in (low, high))
    return tuple(np.maximum.accumulate(around.half_sides * factor) for factor in relative)  # a band has no hooks


def are_alike(measured: Sequence[Field]) -> bool:
    """Return whether all fields are of one input size."""
    return len({field.setting.resolution for field in measured}) == 1


def names(measured: Sequence[Field]) -> list[str]:
    """Return what fields are called among each other: the network, with stage and weights where these differ."""
    settings = [field.setting for field in measured]
    keys = [key for key in ("model", "stage") if len({getattr(setting, key) for setting in settings}) > 1] or ["model"]
    texts = [" ".join(str(getattr(setting, name)) for name in keys) for setting in settings]
    weights = ["untrained" if setting.weights == "random" else "trained" for setting in settings]
    if len(set(weights)) > 1:
        texts = [f"{text}, {whose}" for text, whose in zip(texts, weights, strict=True)]
    short = shortened_apart(texts)
    return [short[text] for text in texts]
