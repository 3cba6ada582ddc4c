"""Evaluation: trained networks on test images, top-1 and top-5 or verification, compared on the same images.

It has no column: its rows have a table of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scsc_lab.metrics import Metric, Progress, training
from scsc_lab.networks.network import Network
from scsc_lab.records import Row
from scsc_lab.training.plan import Runs

NOT_FINITE = "not finite"
"""Placeholder for a class or a score that is not finite."""


@dataclass(frozen=True)
class Evaluation:
    """Settings of an evaluation.

    Attributes:
        runs: data, task and where to run; nothing else of its recipe is used.
        far: false-accept rate at which the true-accept rate is reported, in verification.
        batch: images of a forward pass.
        class_map: names of classes and numbers of their outputs, of a head that has more outputs than the data has
            classes. A prediction of an output without a class is wrong.
        pairs: list of pairs in LFW's format, in verification. Default: drawn pairs.
        flip: add the embeddings of an image and of its mirror image, in verification.
    """

    runs: Runs
    far: float = 0.01
    batch: int = 64
    class_map: tuple[tuple[str, int], ...] | None = None
    pairs: Path | None = None
    flip: bool = False

    def identity(self) -> dict[str, Any]:
        """Return what decides the numbers, as plain data."""
        pairs = hashlib.sha256(self.pairs.read_bytes()).hexdigest() if self.pairs else ""
        further = {"class_map": self.class_map, "pairs": pairs, "flip": self.flip}
        return {**self.runs.identity(), "far": self.far, "batch": self.batch, **further}


def measure(networks: Sequence[Network], settings: Evaluation, progress: Progress) -> list[Row]:
    """Return one row per network; see :func:`scsc_lab.metrics.evaluation.outputs.evaluate`."""
    from scsc_lab.execution.passes import using_threads
    from scsc_lab.metrics.evaluation import outputs

    with using_threads(settings.runs.threads):
        return outputs.evaluate(networks, settings, progress)


METRIC = Metric(
    name="evaluation",
    columns=(),
    measure=measure,
    configure=lambda settings: Evaluation(training.configure(settings)),
    alone=True,
    together=True,
    table_rows=lambda row: [{"table": "evaluation", **row}],
)
