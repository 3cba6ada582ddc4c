"""One measurement as data, and the key that makes two measurements the same."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from scsc_lab import metrics
from scsc_lab.metrics import Metric, Progress
from scsc_lab.networks.network import Network
from scsc_lab.provenance import machine, versions
from scsc_lab.records import Row

_versions, _machine = functools.cache(versions), functools.cache(machine)


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
        identity = [self.metric, [network.identity() for network in self.networks], settings, _versions()]
        if self.kind.alone:  # times of two machines do not compare
            identity.append(_machine())
        return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:16]

    @property
    def is_named(self) -> bool:
        """Whether every network has a name, so that the task has a key."""
        return all(network.is_named for network in self.networks)

    @property
    def kind(self) -> Metric:
        """The metric itself."""
        return metrics.registry()[self.metric]

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
