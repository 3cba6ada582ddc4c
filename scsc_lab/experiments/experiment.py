"""An experiment as data: which networks are measured, by what, and which of them is compared with which.

It is written to the store before anything is measured, so that tables, figures and reports follow from the request, and
nothing has to be guessed from rows. Its measurements are tasks, with the keys that make two of them the same.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from scsc_lab import metrics
from scsc_lab.metrics import Metric, Progress
from scsc_lab.networks.network import Network
from scsc_lab.provenance import commit, machine, run_info, versions
from scsc_lab.records import Row


@dataclass(frozen=True)
class Task:
    """One measurement, as data: it may run in another process or on another machine.

    Attributes:
        metric: name of the metric.
        networks: one network; or several that are measured side by side, the baseline first.
        settings: the metric's settings.
    """

    metric: str
    networks: tuple[Network, ...]
    settings: Any

    def __str__(self) -> str:
        """Return what messages call it: the network, or the last of several."""
        return str(self.networks[-1])

    def row(self) -> Row:
        """Return how it is measured, as plain data."""
        return {"metric": self.metric, "networks": [network.text for network in self.networks], "commit": commit()}

    @functools.cached_property
    def key(self) -> str:
        """Identity of a measurement: networks, files, settings, versions, and the machine of times.

        A network is its spec, or the contents of its files with all that they import; its weights are their file's
        content. Of this package the key has the version, not the commit: a commit that changes no number, as nearly all
        do, would have every store measured again, and one that changes numbers is due a new version. Each measurement
        has the commit it was made at, so that a reader sees where rows of one store are of several.

        Raises:
            InputError: if a network is a module in hand.
        """
        identity_of = getattr(self.settings, "identity", None)  # of settings that hold more than decides the numbers
        plain = dataclasses.asdict(self.settings) if self.settings is not None and identity_of is None else None
        settings = identity_of() if identity_of else plain
        identity = [self.metric, [network.identity() for network in self.networks], settings, versions()]
        if self.kind.alone:  # times of two machines do not compare
            identity.append(machine())
        return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:16]

    @property
    def is_named(self) -> bool:
        """Whether every network has a name, so that the task has a key."""
        return all(network.is_named for network in self.networks)

    @property
    def kind(self) -> Metric:
        """The metric itself."""
        return _metric(self.metric)

    def parts(self, checkpoints: str = "") -> list[Task]:
        """Return the tasks that it is made of, each kept and resumed by itself; itself alone if it has none.

        Args:
            checkpoints: folder of the files that an interrupted task resumes from; empty: there are none.
        """
        made_of = self.kind.parts
        tasks = [self]
        if made_of is not None:
            (network,) = self.networks
            tasks = [Task(made_of.metric, (network,), settings) for settings in made_of.split(network, self.settings)]
        place = tasks[0].kind.checkpoint_to if tasks else None
        if not checkpoints or place is None:
            return tasks
        return [dataclasses.replace(task, settings=place(task.settings, checkpoints)) for task in tasks]

    @functools.cached_property
    def chain(self) -> str:
        """Common to tasks that one process measures in turn, each resuming from the one before; empty for others."""
        shared = getattr(self.settings, "chain", lambda: None)()
        if shared is None:
            return ""
        return json.dumps([self.metric, [network.identity() for network in self.networks], shared], default=str)

    def measure(self, progress: Progress) -> list[Row]:
        """Return the rows of each network, in order; of a task that is not made of parts."""
        assert self.kind.measure is not None
        return self.kind.measure(self.networks, self.settings, progress)


def _metric(name: str) -> Metric:
    metric = metrics.find(name)
    assert metric is not None, f"no metric {name}"
    return metric


def input_names(network: Network) -> Row:
    """Return what rows say of a network's input: ``resolution`` in pixels, or empty and ``inputs`` as text."""
    if network.resolution is not None:
        return {"resolution": list(network.resolution)}
    if network.entry is not None and not network.inputs:
        return {"resolution": list(network.entry.resolution)}
    from scsc_lab.models import build

    if build.takes_image(network):
        return {"resolution": list(build.facts(network).resolution)}
    return {"resolution": [], "inputs": " ".join(map(str, build.inputs(network)))}


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
        metric = _metric(measure.metric)
        if not metric.together:
            for at, arm in enumerate(self.arms):
                if not arm.metrics or measure.metric in arm.metrics:
                    arm_settings = arm.settings.get(measure.metric, measure.settings)
                    yield Task(measure.metric, (arm.network,), arm_settings), [(at, 0)]
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


def plain(settings: Any) -> Any:
    """Return settings as plain data."""
    values = dataclasses.asdict(settings) if dataclasses.is_dataclass(settings) else settings  # type: ignore[arg-type]
    return json.loads(json.dumps(values, default=str))
