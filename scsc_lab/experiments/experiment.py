"""An experiment as data: which networks are measured, by what, and which of them is compared with which.

It is written to the store before anything is measured, so that tables, figures and reports follow from the request
for, and nothing has to be guessed from rows.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from scsc_lab import metrics
from scsc_lab.errors import InputError
from scsc_lab.experiments.task import Task, input_names
from scsc_lab.networks.network import Network
from scsc_lab.provenance import run_info
from scsc_lab.records import Row

Kind = Literal["comparison", "ablation", "noise", "claims", "tuning", "difficulty", "search", "sweep"]
"""Kinds of an experiment: networks side by side, studies of variants, a network against itself, the paper's claims,
values of the recipe that are tried per network, trained networks on harder images, a candidate of a search, or
networks at each value of a setting."""


@dataclass(frozen=True)
class Arm:
    """One network of an experiment and its role.

    Attributes:
        network: the network.
        baseline: position of the arm that it is compared with; ``None`` for a baseline.
        study: named group of variants that it belongs to, in an ablation.
        variant: its name in that study.
        values: the user's own results, by metric.
        settings: settings of metrics, by name, that differ from the experiment's.
        seed_shift: how far the seeds of its training runs are from those of its baseline's, which they are paired with.
        label: what tables call it; the network's own label without one.
        metrics: names of the metrics that it is measured by; all of the experiment's without any.
    """

    network: Network
    baseline: int | None = None
    study: str = ""
    variant: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed_shift: int = 0
    label: str = ""
    metrics: tuple[str, ...] = ()

    def row(self) -> Row:
        """Return it as plain data."""
        return {
            "label": self.label or str(self.network),
            "network": self.network.text,
            **input_names(self.network),
            "baseline": self.baseline,
            "study": self.study,
            "variant": self.variant,
            "values": dict(self.values),
            "settings": {metric: plain(settings) for metric, settings in self.settings.items()},
            "seed_shift": self.seed_shift,
            "metrics": list(self.metrics),
        }


@dataclass(frozen=True)
class Measure:
    """One metric of an experiment, with its settings."""

    metric: str
    settings: Any


@dataclass(frozen=True)
class Use:
    """The row that an arm has of a task: one of its networks', of one part where the metric is made of parts."""

    arm: int
    task: Task
    position: int
    part: int
    metric: str


@dataclass(frozen=True)
class Experiment:
    """All that was asked for.

    Attributes:
        kind: comparison, ablation and so on.
        arms: its networks, each with its role.
        measures: the metrics that they are measured by, with their settings.
        columns: words of the columns that are shown, in order.
        batch: images in one pass.
        details: what else is needed to show it, as plain data.
    """

    kind: Kind
    arms: tuple[Arm, ...]
    measures: tuple[Measure, ...]
    columns: tuple[str, ...] = ()
    batch: int = 1
    details: Mapping[str, Any] = field(default_factory=dict)

    def uses(self, checkpoints: str = "") -> list[Use]:
        """Return the rows that each arm needs.

        Args:
            checkpoints: folder of the files that interrupted tasks resume from.
        """
        uses: list[Use] = []
        for measure in self.measures:
            for task, places in self._tasks(measure):
                for number, part in enumerate(task.parts(checkpoints)):
                    uses += [Use(arm, part, position, number, measure.metric) for arm, position in places]
        return uses

    def _tasks(self, measure: Measure) -> Iterable[tuple[Task, list[tuple[int, int]]]]:
        """Return the tasks of a metric, each with its arms and their positions among the task's networks."""
        metric = metrics.registry()[measure.metric]
        if not metric.together:
            for at, arm in self._arms_of(measure):
                yield (
                    Task(measure.metric, (arm.network,), arm.settings.get(measure.metric, measure.settings)),
                    [(at, 0)],
                )
            return
        for group in self._groups():
            networks = tuple(self.arms[at].network for at in group)
            settings = self.arms[group[0]].settings.get(measure.metric, measure.settings)
            places: list[tuple[int, int]] = []
            first = 0
            for at, network in zip(group, networks, strict=True):
                rows = range(first, first + metric.rows_per_network(network, settings))
                first = rows.stop
                if self.kind != "ablation" or at == group[-1]:  # its baseline is also measured by itself
                    places += [(at, position) for position in rows]
            yield Task(measure.metric, networks, settings), places

    def _arms_of(self, measure: Measure) -> list[tuple[int, Arm]]:
        """Return the arms that a metric measures, with their positions."""
        return [(at, arm) for at, arm in enumerate(self.arms) if not arm.metrics or measure.metric in arm.metrics]

    def _groups(self) -> list[list[int]]:
        """Return which arms are measured side by side, the baseline first in each group."""
        if self.kind == "ablation":
            return [[at] if self._is_alone(arm) else [arm.baseline or 0, at] for at, arm in enumerate(self.arms)]
        baselines = [at for at, arm in enumerate(self.arms) if arm.baseline is None]
        return [[at, *(i for i, arm in enumerate(self.arms) if arm.baseline == at)] for at in baselines]

    def _is_alone(self, arm: Arm) -> bool:
        """Return whether an arm is a baseline, or the same network as its baseline under another name."""
        if arm.baseline is None:
            return True
        network, baseline = arm.network, self.arms[arm.baseline].network
        both_named = network.is_named and baseline.is_named
        return network == baseline or (both_named and network.identity() == baseline.identity())

    def row(self) -> Row:
        """Return it as plain data, without its arms; the digest is that of all that was asked for."""
        content = {
            "kind": self.kind,
            "columns": list(self.columns),
            "metrics": [measure.metric for measure in self.measures],
            "settings": {measure.metric: plain(measure.settings) for measure in self.measures},
            "batch": self.batch,
            "details": dict(self.details),
        }
        content_text = json.dumps([content, [arm.row() for arm in self.arms]], sort_keys=True, default=str)
        return {"digest": hashlib.sha256(content_text.encode()).hexdigest()[:16], **content, "run": run_info().row()}


Roles = Sequence[tuple[int, int | None]]
"""Position of a network, and that of the network it is compared with; None for a baseline. One pair per arm."""


def comparison(
    networks: Sequence[Network],
    column_names: Sequence[str],
    measures: Sequence[Measure],
    *,
    baseline: int = 0,
    roles: Roles = (),
    batch: int = 1,
    values: Mapping[str, Mapping[str, float]] | None = None,
    kind: Kind = "comparison",
    details: Mapping[str, Any] | None = None,
) -> Experiment:
    """Return networks side by side, each compared with one of them.

    Args:
        networks: the networks.
        column_names: columns that are shown.
        measures: what they are measured by.
        baseline: position of the network that the others are compared with, where there are no roles.
        roles: which network is compared with which, for several baselines.
        batch: images in one pass.
        values: the user's own results by metric, by the network's label.
        kind: ``comparison``, or ``noise`` for a network against itself.
        details: what else is needed to show it.

    Raises:
        InputError: if two networks of a comparison have one name.
    """
    if kind == "comparison":
        check_names(networks)
    roles = roles or [(at, None if at == baseline else baseline) for at in range(len(networks))]
    arm_of = {network: at for at, (network, reference) in enumerate(roles) if reference is None}
    arms = tuple(
        Arm(
            networks[at],
            None if reference is None else arm_of[reference],
            values=(values or {}).get(str(networks[at]), {}),
        )
        for at, reference in roles
    )
    return Experiment(kind, arms, tuple(measures), tuple(column_names), batch, details or {})


def check_names(networks: Sequence[Network]) -> None:
    """Raise InputError if two networks of a comparison have one name."""
    labels = [str(network) for network in networks]
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(f"{label} is named twice: name each network once")


def plain(settings: Any) -> Any:
    """Return settings as plain data."""
    values = dataclasses.asdict(settings) if dataclasses.is_dataclass(settings) else settings  # type: ignore[arg-type]
    return json.loads(json.dumps(values, default=str))
