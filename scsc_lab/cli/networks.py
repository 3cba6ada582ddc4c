"""The networks that a command measures: named by its arguments and options, built when torch is needed."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from scsc_lab.cli.parameters import option
from scsc_lab.errors import InputError
from scsc_lab.networks import catalog, overrides
from scsc_lab.networks.mixers import TransplantSpec
from scsc_lab.networks.network import Network
from scsc_lab.networks.values import InputTensor
from scsc_lab.records import Row
from scsc_lab.settings import texts
from scsc_lab.settings.declaration import Declared, setting, settings_of

_OF_BASELINES = {"option": "--baseline", "metavar": "NAME", "panel": "Networks"}

Baseline = Annotated[
    str | None, option("Network that the others are compared with. Default: the first.", **_OF_BASELINES)
]
"""The option that names the one baseline."""

Baselines = Annotated[
    tuple[str, ...],
    option("Network that the others are compared with. Repeatable. Default: the first.", **_OF_BASELINES),
]
"""The option that names baselines."""

Pairs = Annotated[
    tuple[str, ...],
    option(
        "Compare the second network with the first, e.g. resnet18:scsc_resnet50. Repeatable.",
        "--pair",
        metavar="NAME:NAME",
        panel="Networks",
    ),
]
"""The option that says which network is compared with which."""


def complete_model(incomplete: str) -> list[str]:
    """Return the names that a word may become, for the shell."""
    return [name for name in catalog.CATALOG if name.startswith(incomplete.lower().replace("-", "_"))]


_named = functools.partial(setting, panel="Networks", decides=False)
_replacement = functools.partial(setting, panel="Replacement", decides=False)


@dataclass(frozen=True)
class Networks(Declared):
    """Networks as a user names them, with what is changed, loaded or replaced in them.

    Raises:
        InputError: if a name, a change or a rule is wrong, as far as that shows without torch.
    """

    models: tuple[str, ...] = _named(
        (),
        "Networks: names from `scsc-lab models`, timm:NAME, torchvision:NAME, FILE.py:FACTORY or MODULE:FACTORY (this "
        "runs their code), FILE.onnx. 'NAME[key=value ...]' changes one.",
        metavar="MODEL",
        complete=complete_model,
    )
    model: tuple[str, ...] = _named(
        (), "Add a network. Repeatable.", "-m/--model", metavar="MODEL", complete=complete_model
    )
    set: tuple[tuple[str, str], ...] = _named(
        (),
        "Change a setting, e.g. kernels=3,5,7, stage1.kernels=3,9 or shuffle=false. Repeatable.",
        "--set",
        metavar="KEY=VALUE",
        parse=texts.assignment,
        repeated=True,
    )
    weights: tuple[str, ...] = _named(
        (), "Load a checkpoint. With several networks, write NAME=FILE. Repeatable.", "--weights", metavar="FILE"
    )
    resize_weights: bool = _named(
        False,
        "Fit weights of another input size, window or number of classes, as timm does.",
        "--resize-weights",
    )
    label: tuple[str, ...] = _named(
        (), "Name of a network in tables and figures. Repeatable.", "--label", metavar="LABEL=MODEL"
    )
    resolution: tuple[int, int] | None = _named(
        None,
        "Input size in pixels, e.g. 224 or 224x320. Default: the network's.",
        "--resolution",
        metavar="H[xW]",
        parse=texts.size,
    )
    channels: int | None = _named(
        None,
        "Input channels of networks outside the catalog. Default: the network's, or 3.",
        "--channels",
        low=1,
        high=4096,
        metavar="N",
    )
    input: tuple[InputTensor, ...] = _named(
        (),
        "Input tensor other than one image, e.g. 1x3x16x112x112 or tokens=int64:1x77. Repeatable.",
        "--input",
        metavar="[NAME=][TYPE:]SHAPE",
        parse=InputTensor.read,
        repeated=True,
    )
    transplant: bool = _replacement(
        False, "Also measure a copy with SCSC in place of the spatial operators.", "--transplant"
    )
    mixer: tuple[str, ...] = _replacement(
        (), "Also measure a copy that uses this mixer: a name or FILE.py:CLASS. Repeatable.", "--mixer", metavar="NAME"
    )
    rule: tuple[tuple[str, str], ...] = _replacement(
        (),
        "Rule of the replacement, e.g. replace=depthwise, names=stages.0.*, stages=1,2 or kernels=3,9. Repeatable.",
        "--rule",
        metavar="KEY=VALUE",
        parse=texts.assignment,
        repeated=True,
    )
    deploy: bool = _replacement(
        False, "Also measure the deploy form, fused for inference, of each network that has one.", "--deploy"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.names:
            network = Network.read(name)  # a mistyped name is reported at once, before torch is imported
            replace(network, resolution=self.resolution, inputs=self.input)
        self.changes(), self.transplants()

    @property
    def names(self) -> tuple[str, ...]:
        """The names, as arguments first, then as options."""
        return (*self.models, *self.model)

    def options(self) -> list[str]:
        """Return the options that differ from their defaults, without those that name networks."""
        return [
            entry.spelled()
            for entry in settings_of(Networks)
            if entry.name not in ("models", "model") and getattr(self, entry.name) != entry.default
        ]

    def changes(self) -> dict[str, str]:
        """Return the changes to settings, by key."""
        return texts.by_key(self.set, "--set") if self.set else {}

    def transplants(self) -> list[TransplantSpec]:
        """Return the replacements that each network is also measured with.

        Raises:
            InputError: if a rule or a mixer is wrong, or there are rules for no replacement.
        """
        mixers = list(dict.fromkeys(self.mixer or (["scsc"] if self.transplant else [])))
        if self.rule and not mixers:
            raise InputError("--rule goes with --transplant or --mixer NAME")
        return overrides.transplants(mixers, texts.by_key(self.rule, "--rule")) if mixers else []

    def build(self, *, heads_fit: bool = True) -> Built:
        """Return the networks in all their forms.

        Of several networks, one whose file or code is at fault is a failure, and the others are measured.

        Args:
            heads_fit: whether the network is used as it is: weights must fit its head, and it must take its own input.

        Raises:
            InputError: if no network is named or none is left, a name or a change is wrong, or a form does not exist.
        """
        if not self.names:
            raise InputError("name at least one model, e.g. resnet50; `scsc-lab models` lists them")
        from scsc_lab.models import in_hand, names

        networks = names.networks(
            self.names,
            self.changes(),
            self.weights,
            channels=self.channels,
            resolution=self.resolution,
            inputs=self.input,
            resize_weights=self.resize_weights,
        )
        model_names, failures = self.names, list[Row]()
        if len(networks) > 1:
            networks, model_names, failures = _sound(networks, model_names, heads_fit)
        networks, notes = names.in_all_forms(networks, model_names, self.transplants(), self.label, deploy=self.deploy)
        resized = [network for network in networks if network.resize_weights]
        notes = [*(note for network in resized for note in in_hand.notes_on_weights(network)), *notes]
        return Built(networks, notes, failures)


@dataclass(frozen=True)
class Built:
    """The networks of a command.

    Attributes:
        networks: those that can be measured.
        notes: on replacements that do not fit some of them.
        failures: one row per network whose file or code is at fault: ``model``, ``status`` and ``failure``.
    """

    networks: list[Network]
    notes: list[str]
    failures: list[Row]

    def position(self, name: str | None) -> int:
        """Return the position of the baseline: the first network unless one is named.

        Raises:
            InputError: if none of them has this name.
        """
        if name is None:
            return 0
        from scsc_lab.models import names

        return names.index_of(name, self.networks, "--baseline")

    def roles(self, baselines: Sequence[str], pairs: Sequence[str] = ()) -> list[tuple[int, int | None]]:
        """Return which network is compared with which: each with every baseline, or as the pairs say.

        Raises:
            InputError: if a name is none of the networks, or there are both baselines and pairs.
        """
        if baselines and pairs:
            raise InputError("--pair names its baseline: leave --baseline out")
        everybody = range(len(self.networks))
        references = list(dict.fromkeys(self.position(name) for name in baselines or (None,)))
        compared = [(second, first) for first, second in map(self._pair, pairs)]
        if not pairs and len(references) == 1:
            return [(at, None if at == references[0] else references[0]) for at in everybody]
        if pairs:
            references = list(dict.fromkeys(first for _, first in compared))
            paired = {at for pair in compared for at in pair}
            references += [at for at in everybody if at not in paired]
        else:
            compared = [(at, first) for first in references for at in everybody if at not in references]
        return [*((at, None) for at in references), *compared]

    def _pair(self, text: str) -> tuple[int, int]:
        """Return the positions of the two networks of ``NAME:NAME``; names may hold colons."""
        from scsc_lab.models import names

        parts = text.split(":")
        for at in range(1, len(parts)):
            first, second = ":".join(parts[:at]), ":".join(parts[at:])
            with contextlib.suppress(InputError):
                pair = tuple(names.index_of(name.strip(), self.networks, "--pair") for name in (first, second))
                if pair[0] != pair[1]:
                    return pair[0], pair[1]
        labels = ", ".join(map(str, self.networks))
        raise InputError(f"--pair {text!r}: write BASELINE:NETWORK with two of {labels}")


def _sound(
    networks: Sequence[Network], names: Sequence[str], heads_fit: bool
) -> tuple[list[Network], tuple[str, ...], list[Row]]:
    """Return the networks that can be built and take their input, their names, and a row for each that cannot.

    Raises:
        InputError: if there is none that can.
    """
    from scsc_lab.metrics.size import counted
    from scsc_lab.models import build

    sound, sound_names, failures = [], list[str](), list[Row]()
    for network, name in zip(networks, names, strict=True):
        try:
            if network.in_catalog and not network.weights and not network.inputs:
                build.facts(network)  # nothing else of it can be at fault
            elif heads_fit:
                counted(network)
            else:  # data decides the size of its input
                build.empty(replace(network, weights=""))
            sound.append(network)
            sound_names.append(name)
        except InputError as error:
            first = failures[0]["failure"] if failures else str(error)
            failures.append({"model": str(network), "status": "failed", "failure": str(error).rstrip(".")})
    if not sound:
        raise InputError(first)
    return sound, tuple(sound_names), failures
