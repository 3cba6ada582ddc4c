"""Published accuracy: what the authors of a network print. Nothing here is measured."""

from __future__ import annotations

from collections.abc import Sequence

from scsc_lab import units
from scsc_lab.metrics import Metric, Progress
from scsc_lab.networks.network import Network
from scsc_lab.records import Row
from scsc_lab.report.tables import Change, Column


def measure(networks: Sequence[Network], settings: None, progress: Progress) -> list[Row]:
    """Return the published figure and its source of each network that is as it was published."""
    return [_row(network) for network in networks]


def _row(network: Network) -> Row:
    entry = network.entry
    as_published = not (network.overrides or network.transplant or network.weights)
    as_published &= entry is not None and network.resolution in (None, entry.resolution)
    published = entry.published if entry is not None and as_published else None
    return {
        "published_top1": published.top1 if published else None,
        "published_source": published.source if published else None,
        "inferred": (entry.inferred or None) if entry else None,
    }


def at_its_own_size(row: Row) -> Row:
    """Return a network's row without its published figure where its input has another size than the authors'."""
    if row.get("published_top1") is None:
        return row
    entry = Network.read(str(row.get("network") or row["model"])).entry
    is_its_own = entry is not None and list(row["resolution"]) == list(entry.resolution)
    return row if is_its_own else {**row, "published_top1": None, "published_source": None}


def notes(rows: Sequence[Row]) -> list[str]:
    """Return where the figures are from."""
    sources = dict.fromkeys(f"{row['model']} {row['published_source']}" for row in rows if row.get("published_source"))
    sentences = [
        f"top-1: ImageNet-1k, as published, not measured here: {'; '.join(sources)}."
        if sources
        else "top-1: none of these has a published figure."
    ]
    return sentences + [f"Inferred, {row['model']}: {row['inferred']}." for row in rows if row.get("inferred")]


METRIC = Metric(
    name="published",
    columns=(
        Column(
            "published_top1",
            "top-1",
            units.plain,
            unit="%",
            word="top1",
            better="higher",
            question="Is it more accurate, as published?",
            change=Change(
                Column("published_top1_change", "Δ top-1, points", units.signed), "difference", "Δ points", scale=1.0
            ),
        ),
    ),
    measure=measure,
    configure=lambda settings: None,
    notes=notes,
    default=("top1",),
)
ORDER = 9
