"""Two ways to put SCSC in: the paper's network and a transplant of the same backbone, where a report holds both."""

from __future__ import annotations

from collections.abc import Sequence

from scsc_lab import units
from scsc_lab.records import Row
from scsc_lab.report import tables
from scsc_lab.report.document import Block, Grid, Paragraph, Section
from scsc_lab.report.names import module, original
from scsc_lab.report.tables import Column, Table

TITLE = "Two ways to put SCSC in"

_SAME_MACS = 0.01
"""Difference of two changes of MACs, as a fraction of the baseline's, below which they are the same cost."""

_RULE = (
    "The paper's network is designed around SCSC: its widths, its norms and its blocks are its own, and each module "
    "starts at the scale of its last BatchNorm. A transplant replaces the spatial operators alone: it keeps all "
    "widths, norms and shortcuts, and starts each module at the output deviation of the operator that was there."
)
_AT_RANDOM = (
    "At random weights r(t) shows what these scales let through beside the shortcuts, not what a trained network uses."
)


def section(networks: Sequence[Row], columns: Sequence[Column]) -> list[Section]:
    """Return the section: both rows of each backbone, and why they differ; none without such a backbone.

    Args:
        networks: networks, each with the changes against its baseline.
        columns: what is shown of them.
    """
    both = pairs(networks)
    if not both:
        return []
    changes = [column.change.column for column in columns if column.change is not None]
    rows = tuple(row for pair in both for row in pair)
    table = Table((tables.MODEL, *tables.filled(changes, rows)), rows)
    text = " ".join([_RULE, *map(_sentence, both)])
    if any(row.get("r50") is not None and row.get("weights") == "random" for row in rows):
        text += f" {_AT_RANDOM}"
    blocks: tuple[Block, ...] = (Paragraph(text), Grid(table, "two_ways"))
    return [Section(TITLE, blocks)]


def pairs(networks: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Return the paper's network and a transplant of SCSC for each backbone and input size that has both."""
    by_backbone: dict[tuple[str, str], dict[bool, Row]] = {}
    for row in networks:
        if module(row) == "SCSC" and row.get("baseline") != row["model"]:
            is_transplant = " + " in str(row.get("network") or row["model"])
            by_backbone.setdefault((original(row), str(row["resolution"])), {}).setdefault(is_transplant, row)
    return [(both[False], both[True]) for both in by_backbone.values() if len(both) > 1]


def _sentence(pair: tuple[Row, Row]) -> str:
    """Return how the two differ, and whether they cost the same."""
    facts = "; ".join(f"{row['model']} has {_facts(row)}" for row in pair)
    first, second = (row.get("macs_change") for row in pair)
    if first is None or second is None:
        return f"In {original(pair[0])}: {facts}."
    if abs(first - second) <= _SAME_MACS:
        return (
            f"In {original(pair[0])} both cost the same MACs: {facts}. At initialisation the scale of the modules' "
            "outputs makes the difference, not the module."
        )
    return (
        f"In {original(pair[0])} they are networks of different cost, each to be compared with its baseline: {facts}."
    )


def _facts(row: Row) -> str:
    numbers = (
        ("macs_change", units.percent, "{} MACs"),
        ("ratio", units.ratio, "{} × the time"),
        ("r50", units.share, "r(50%) of {}"),
        ("accuracy_difference", units.signed_decimal, "{} points of accuracy"),
    )
    return ", ".join(form.format(text(row[key])) for key, text, form in numbers if row.get(key) is not None)
