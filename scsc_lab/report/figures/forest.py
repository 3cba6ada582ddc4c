"""Forest plots: how far each variant of a network is from it, a panel per metric, with intervals and a key."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scsc_lab import units
from scsc_lab.records import Row
from scsc_lab.report.comparison import by_study
from scsc_lab.report.figures import style
from scsc_lab.report.names import shortened, shortened_apart
from scsc_lab.report.tables import Change, Column
from scsc_lab.settings import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW_INCHES = 0.165
_FRAME_INCHES = 0.62
_KEY_INCHES = 0.2
_LONGEST_NAME, _LONGEST_LABEL = 28, 16
_PANEL_INCHES = 0.86
_VALUE_INCHES = 0.36
"""Room for a written value beside its dot."""

_SMALL = 1.0
"""Change in percent or points below which a variant is folded into one line with its like."""

_MERGED = {"kernels": "kernels and scales", "scales": "kernels and scales"}
"""Studies that share variants, under the name that they have together."""

_BETTER, _WORSE, _NEUTRAL, _OPEN = style.COLOURS[0], style.COLOURS[1], "0.25", "0.6"
_KEY = {
    _BETTER: "better",
    _WORSE: "worse",
    _NEUTRAL: "clear, neither better nor worse",
    _OPEN: "not clear, or no change",
}
_NOT_MEASURED = "–"

_Line = tuple[str, Row | None]
"""Name and row of a line; a heading has no row, and several variants in one line have theirs under ``together``."""


def draw(
    rows: Sequence[Row],
    columns: Sequence[Column],
    options: Drawing = style.PLAIN,
    alongside: Sequence[Row] = (),
) -> Figure:
    """Return a figure of an ablation: one panel a metric, in it one dot a variant, its change against the full network.

    Several studies stand below each other on one scale. Variants that change nothing by 1 % share a line.

    Args:
        rows: variants of one or more studies with the changes of the columns; the first of each is the full network.
        columns: what is drawn; those without a change are left out.
        options: width and titles.
        alongside: variants in other figures, which the scale is to be the same as.
    """
    studies = dict.fromkeys(str(row["study"]) for row in rows)
    title = ": ".join([str(rows[0]["model"]), *(studies if len(studies) == 1 else ())]) if rows else ""
    everything = [*rows, *alongside]
    longest = max((len(name) for name, _ in _lines(everything)), default=0)
    return _draw(_folded(_lines(rows), columns), columns, options, ("in full", title), everything, longest)


def draw_networks(rows: Sequence[Row], columns: Sequence[Column], options: Drawing = style.PLAIN) -> Figure:
    """Return a figure of many networks against one: a panel per metric, a dot per network.

    Args:
        rows: networks with the changes of the columns against the first of them.
        columns: what is drawn; those without a change are left out.
        options: width and titles.
    """
    baseline = str(rows[0]["model"])
    models = [str(row["model"]).removeprefix(f"{baseline} ").removeprefix("+ ") for row in rows[1:]]
    short = shortened_apart(models, _LONGEST_NAME)
    lines: list[_Line] = [(short[model], row) for model, row in zip(models, rows[1:], strict=True)]
    longest = max(map(len, short.values()), default=0)
    return _draw(lines, columns, options, (shortened(baseline, 20), f"against {baseline}"), rows, longest)


def panel(rows: Sequence[Row], column: Column, axes: Any = None) -> Any:
    """Draw the change of one metric, a dot a variant, and return the axes; see :func:`draw`.

    Args:
        rows: variants of one or more studies with the column's changes; the first of each is the full network.
        column: the metric; one that has a change.
        axes: matplotlib's axes to draw on. Default: those of a new figure, one column wide.
    """
    lines = _lines(rows)
    if axes is None:
        _, axes = style.new(style.COLUMN_INCHES, _FRAME_INCHES + _ROW_INCHES * max(len(lines), 1))
    room = axes.get_window_extent().width / axes.figure.dpi
    with style.applied():
        if column.change is not None:
            _draw_panel(axes, lines, column, column.change, room, rows)
        _name_lines(axes, lines)
    return axes


def _draw(
    lines: Sequence[_Line],
    columns: Sequence[Column],
    options: Drawing,
    texts: tuple[str, str],
    on_one_scale: Sequence[Row],
    longest_name: int,
) -> Figure:
    """Return the figure of some lines; ``texts`` are the name of zero and the title."""
    zero, title = texts
    changing = [(column, column.change) for column in columns if column.change is not None]
    width = options.width or style.PAGE_INCHES
    names = longest_name * style.POINTS * 0.55 / 72
    side_by_side = max(1, min(len(changing), int((width - names) / _PANEL_INCHES)))
    bands = max(1, math.ceil(len(changing) / side_by_side))
    side_by_side = max(1, math.ceil(len(changing) / bands))
    key_inches = _KEY_INCHES * (2 if width <= style.NARROW_INCHES else 1) + (0.15 if options.titles else 0.0)
    row_inches = _FRAME_INCHES + _ROW_INCHES * len(lines)
    figure, axes = style.grid(len(changing), side_by_side, width, row_inches, key_inches=key_inches, sharey=True)
    room = (width - names) / side_by_side - 0.15  # inches of a panel, roughly
    with style.applied():
        for axis, (column, change) in zip(axes.flat, changing, strict=False):
            _draw_panel(axis, lines, column, change, room, on_one_scale)
        for first in axes[:, 0]:
            _name_lines(first, lines)
            first.set_title(f"0: {zero}", fontsize=style.POINTS, loc="left", pad=3)
        _key(figure, [_colour(*pair, row) for _, row in lines if row and "together" not in row for pair in changing])
        if options.titles and title:
            figure.suptitle(shortened(title, 80), fontsize=8)
    return figure


def _key(figure: Any, colours: Sequence[str | None]) -> None:
    """Write what the colours mean that occur, and the sign of a cell that was not measured."""
    from matplotlib.lines import Line2D

    looks: list[Any] = [
        {"color": colour, "markerfacecolor": "white" if colour == _WORSE else colour, "label": label}
        for colour, label in _KEY.items()
        if colour in colours
    ]
    handles = [Line2D([], [], marker="o", linestyle="none", markersize=3.5, **look) for look in looks]
    if None in colours:
        handles.append(Line2D([], [], marker="_", linestyle="none", markersize=4, color=_OPEN, label="not measured"))
    columns = 2 if figure.get_figwidth() <= style.NARROW_INCHES else len(handles)
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, handletextpad=0.1, columnspacing=1.2)


def _name_lines(axes: Any, lines: Sequence[_Line]) -> None:
    axes.set_yticks(range(len(lines)), [name for name, _ in lines])
    for label, (_, row) in zip(axes.get_yticklabels(), lines, strict=True):
        label.set_fontweight("bold" if row is None else "normal")
    axes.set_ylim(len(lines) - 0.4, -0.6)


def _lines(rows: Sequence[Row]) -> list[_Line]:
    """Return the lines of studies: under each study's name, where there are several, its variants, each once."""
    studies: dict[str, dict[str, Row]] = {}
    for study, members in by_study(rows).items():
        variants = studies.setdefault(_MERGED.get(study, study), {})
        for row in members[1:]:
            variants.setdefault(str(row["variant"]), row)
    lines: list[_Line] = []
    for study, variants in studies.items():
        lines += [(shortened(study, _LONGEST_NAME), None)] if len(studies) > 1 else []
        short = shortened_apart(variants, _LONGEST_NAME)
        lines += [(short[variant], row) for variant, row in variants.items()]
    return lines


def _folded(lines: Sequence[_Line], columns: Sequence[Column]) -> list[_Line]:
    """Return lines in which the variants of a study that change nothing by 1 % share one, the last of the study."""
    folded: list[_Line] = []
    heads = [at for at, (_, row) in enumerate(lines) if row is None] or [0]
    for start, end in zip(heads, [*heads[1:], len(lines)], strict=True):
        study = lines[start:end]
        small = [line for line in study if line[1] and _is_small(line[1], columns)]
        together: list[_Line] = (
            [(_together([name for name, _ in small]), {"together": [row for _, row in small]})]
            if len(small) > 1
            else []
        )
        folded += [line for line in study if not (together and line in small)] + together
    return folded


def _is_small(row: Row, columns: Sequence[Column]) -> bool:
    changes = [column.change.scaled(row) for column in columns if column.change is not None]
    values = [abs(value) for value, *_ in changes if value is not None]
    return bool(values) and max(values) < _SMALL


def _together(names: Sequence[str]) -> str:
    """Return several variants as one line: ``groups=1, 2, 4``."""
    key = names[0].partition("=")[0] + "="
    alike = all(name.startswith(key) and "," not in name for name in names)
    listed = ", ".join([names[0], *(name.removeprefix(key) for name in names[1:])])
    return shortened(listed, _LONGEST_NAME) if alike else f"{len(names)} variants"


def _colour(column: Column, change: Change, row: Row) -> str | None:
    """Return the colour of a change: grey where its interval holds zero or the metric says that it is inconclusive.

    Where it was not measured, it is None.
    """
    value, low, high = change.scaled(row)
    if value is None:
        return None
    is_open = bool(change.judged) and row.get(change.judged) == "inconclusive"
    if is_open or value == 0 or (low is not None and high is not None and low <= 0 <= high):
        return _OPEN
    if not column.better:
        return _NEUTRAL
    return _BETTER if (value < 0) == (column.better == "lower") else _WORSE


def _draw_panel(
    axis: Any, lines: Sequence[_Line], column: Column, change: Change, room: float, on_one_scale: Sequence[Row]
) -> None:
    for position, (_, row) in enumerate(lines):
        if row is None:
            continue
        if any(change.scaled(small)[0] is not None for small in row.get("together", ())):
            axis.annotate("< 1", (0, position), color="0.25", **style.TO_THE_RIGHT)
            continue
        value, low, high = change.scaled(row)
        colour = _colour(column, change, row)
        if value is None or colour is None:
            axis.annotate(_NOT_MEASURED, (0, position), color=_OPEN, **style.TO_THE_RIGHT)
            continue
        if low is None or high is None:
            axis.plot([0, value], [position, position], color=colour, linewidth=0.8)
        else:
            axis.plot([low, high], [position, position], color=colour, linewidth=1.6)
        face = "white" if colour == _WORSE else colour  # hollow, for readers without colour
        axis.plot(value, position, "o", color=colour, markerfacecolor=face, markersize=3.5)
        # to the right of the line, so that no number stands on the names to the left of it
        axis.annotate(_written(value, change), (max(0.0, value, high or 0.0), position), **style.TO_THE_RIGHT)
    axis.axvline(0, color="black", linewidth=0.6)
    axis.spines["left"].set_visible(False)
    axis.tick_params(left=False)
    axis.locator_params(axis="x", nbins=3)
    axis.set_xlim(*_limits([change.scaled(row) for row in on_one_scale], room))
    unit = "points" if change.how == "difference" else "%"
    axis.set_xlabel(f"{textwrap.fill(column.quantity, _LONGEST_LABEL)}\n(change in {unit})", linespacing=1.0)


def _limits(changes: Sequence[tuple[float | None, ...]], room: float) -> tuple[float, float]:
    """Return the ends of a scale that holds all changes, and their values as text beside them."""
    ends = [end for change in changes for end in change if end is not None]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    span = (high - low) or 1.0
    share = min(_VALUE_INCHES / max(room, 0.1), 0.45)
    return low - 0.09 * span, high + span * share / (1 - share)


def _written(value: float, change: Change) -> str:
    text = units.points(value / 100) if change.how == "difference" else units.percent(value / 100)
    return text.removesuffix("%")  # the axis has the unit
