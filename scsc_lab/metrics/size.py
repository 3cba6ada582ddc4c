"""Size: parameters, multiply-accumulates, activations and bytes of one forward pass, from one count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scsc_lab.architectures.network import Network
from scsc_lab.metrics import Metric, Tell
from scsc_lab.records import Row
from scsc_lab.report import tables


@dataclass(frozen=True)
class Settings:
    """How networks are counted.

    Attributes:
        batch: images in the forward pass.
    """

    batch: int = 1


def measure(networks: Sequence[Network], settings: Settings, tell: Tell) -> list[Row]:
    """Return one row a network, counted without weights on the meta device."""
    from scsc_lab.experiments import size
    from scsc_lab.models.subject import of

    rows = []
    for network in networks:
        tell(f"counting {network}")
        counted = size.measure(of(network), None, settings.batch, check=False).row()
        rows.append({key: counted[key] for key in ("params", "macs", "activations", "bytes", "status")})
    return rows


def notes(rows: Sequence[Row]) -> list[str]:
    """Return what MACs are, and which counts are partial."""
    found = ["MACs: multiply-accumulates, which papers print as FLOPs; counted as by `scsc-lab flops`."]
    return found + [f"{row['model']}: PARTIAL count." for row in rows if row.get("status") == "partial"]


METRIC = Metric(
    name="size",
    columns=(tables.PARAMS, tables.MACS, tables.ACTIVATIONS, tables.BYTES),
    measure=measure,
    configure=lambda request: Settings(request.batch),
    notes=notes,
)
ORDER = 1
