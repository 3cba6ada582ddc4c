"""Sweeps: networks side by side at each value of one setting, as one experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from scsc_lab import metrics
from scsc_lab.errors import InputError
from scsc_lab.experiments import compare
from scsc_lab.experiments.experiment import Arm, Experiment
from scsc_lab.networks import space
from scsc_lab.networks.network import Network
from scsc_lab.networks.specs import SwinSpec
from scsc_lab.settings import Settings, texts
from scsc_lab.settings.measuring import DTYPES

OF_SETTINGS = ("batch", "threads", "dtype")
"""Keys that are settings of the measurement; ``resolution``, ``width``, ``depth`` and all others are the network's."""

_FACTORS = ("width", "depth")


@dataclass(frozen=True)
class Over:
    """Setting of a sweep, and its values.

    Attributes:
        key: ``resolution``, ``batch``, ``threads``, ``dtype``, ``width``, ``depth``, or a key that ``--set`` takes.
        values: its values as text, in order.
    """

    key: str
    values: tuple[str, ...]

    @property
    def numbers(self) -> tuple[float, ...] | None:
        """The values as numbers; ``None`` where some are none."""
        try:
            return tuple(map(float, self.values))
        except ValueError:
            return None


def over(text: str) -> Over:
    """Return what a text such as ``resolution=128..512:64`` says.

    Raises:
        InputError: if it says nothing to go over.
    """
    key, equals, listed = (part.strip() for part in text.partition("="))
    parts = listed.split(";") if ";" in listed else listed.split(",")
    values = [value for part in parts for value in space.expanded(f"--over {key}", part.strip()) if value]
    setting = Over(key, tuple(dict.fromkeys(values)))
    if setting.numbers is not None:  # in order, and each in one spelling
        spelled = dict(zip(setting.numbers, setting.values, strict=True))
        setting = replace(setting, values=tuple(spelled[number] for number in sorted(spelled)))
    if not (key and equals and len(setting.values) > 1):
        raise InputError(f"--over {text!r}: write KEY=VALUES with at least two, e.g. --over resolution=128..512:64")
    if key == "resolution":
        for value in values:
            texts.size(value)
    if key in ("batch", "threads") and not all(value.isdecimal() and int(value) for value in values):
        raise InputError(f"--over {text}: whole numbers from 1 up are needed")
    if key == "dtype" and (wrong := [value for value in values if value not in DTYPES]):
        raise InputError(f"--over dtype={wrong[0]}: one of {', '.join(DTYPES)}")
    return setting


def experiment(
    networks: Sequence[Network], column_names: Sequence[str], setting: Over, settings: Settings
) -> Experiment:
    """Return the experiment: an arm per value and network, each compared with the first network at the same value.

    Raises:
        InputError: if a network has no such setting, or a value of it cannot be.
    """
    if setting.key == "batch" and settings.timing.batches:
        raise InputError("--over batch goes over the batch sizes: leave --batch-sizes out")
    arms: list[Arm] = []
    for value in setting.values:
        first = len(arms)
        at_value = _settings(settings, setting.key, value)
        own_settings = {}
        if setting.key in OF_SETTINGS:
            own_settings = {metric.name: metric.configure(at_value) for metric in metrics.chosen(column_names)}
        for network in networks:
            changed = network if setting.key in OF_SETTINGS else at(network, setting.key, value)
            baseline = None if len(arms) == first else first
            arms.append(Arm(changed, baseline, setting.key, value, settings=own_settings, label=str(network)))
    configured = [[*arm.settings.values()] for arm in arms]
    if setting.key in OF_SETTINGS and len(setting.values) > 1 and all(each == configured[0] for each in configured):
        raise InputError(f"{setting.key} changes nothing of {', '.join(column_names)}: sweep it with latency")
    details = {"over": setting.key, "values": list(setting.values)}
    measures = compare.measures(column_names, settings)
    return Experiment("sweep", tuple(arms), tuple(measures), tuple(column_names), settings.execution.batch, details)


def at(network: Network, key: str, value: str) -> Network:
    """Return a network with a setting at a value; ``width`` and ``depth`` of the catalog's are factors.

    Raises:
        InputError: if it has no such setting, or it cannot have this value.
    """
    if key == "resolution":
        return replace(network, resolution=texts.size(value))
    spec = network.spec
    if spec is None or key not in _FACTORS:
        return network.changed({key: value})
    try:
        factor = float(value)
    except ValueError:
        factor = 0.0
    if not 0 < factor <= _LARGEST_FACTOR:
        raise InputError(f"--over {key}={value}: a factor of the network's own {key}, e.g. 0.5..2:0.5")
    if key == "depth":
        return network.changed({"depths": tuple(max(round(factor * depth), 1) for depth in spec.depths)})
    if isinstance(spec, SwinSpec):
        step = 1 if len(spec.scsc_stages) == len(spec.depths) else spec.heads[0]
        return network.changed({"embed_dim": max(round(factor * spec.embed_dim / step), 1) * step})
    scaled = {name: getattr(spec, name) for name in ("widths", "bottleneck_widths")}
    changes: dict[str, object] = {
        name: tuple(round(factor * width) for width in widths) for name, widths in scaled.items()
    }
    return network.changed({**changes, "stem_width": max(round(factor * spec.stem_width), 1)})


_LARGEST_FACTOR = 64


def _settings(settings: Settings, key: str, value: str) -> Settings:
    if key not in OF_SETTINGS:
        return settings
    changed: dict[str, Any] = {key: value if key == "dtype" else int(value)}
    return replace(settings, execution=replace(settings.execution, **changed))
