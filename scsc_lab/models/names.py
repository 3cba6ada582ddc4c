"""The networks that names and options stand for: each change, file and label to the network that it fits."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from scsc_lab.errors import InputError, nearest
from scsc_lab.models import build
from scsc_lab.networks import catalog, overrides
from scsc_lab.networks.mixers import TransplantSpec
from scsc_lab.networks.network import Network
from scsc_lab.networks.values import InputTensor


def networks(
    names: Sequence[str],
    changes: Mapping[str, object] | None = None,
    weights: Sequence[str] = (),
    *,
    channels: int | None = None,
    resolution: tuple[int, int] | None = None,
    inputs: tuple[InputTensor, ...] = (),
    labels: Sequence[str] = (),
    resize_weights: bool = False,
) -> list[Network]:
    """Return the networks of several names, with changes made, weights and labels given.

    Args:
        names: names, each also as a whole text form, ``name[key=value …]``.
        changes: changes to the specs, or arguments of the factories; each goes to every network that has its key.
        weights: checkpoint files: ``FILE`` if there is one network, else ``NAME=FILE``.
        channels: input channels of the networks that have none of their own.
        resolution: input height and width, in pixels, that all are measured at.
        inputs: the tensors that all are measured with, where they are not one image.
        labels: ``LABEL=NAME``: what a network is called.
        resize_weights: make weights of another input size, window or head fit.

    Raises:
        InputError: if a name, a change, a file or a label is wrong, or a change fits none.
    """
    networks = [replace(Network.read(name), resolution=resolution, inputs=inputs) for name in names]
    networks = [net if net.in_catalog or channels is None else replace(net, channels=channels) for net in networks]
    if channels not in (None, 3) and any(network.in_catalog for network in networks):
        networks = [replace(network, channels=channels) for network in networks]  # which says that it takes three
    changes = changes or {}
    fitting = [changes if len(networks) == 1 else _fitting(network, changes) for network in networks]
    for key in changes:
        if networks and not any(key in applicable for applicable in fitting):
            _nowhere(key, changes[key], networks)
    networks = [network.changed(applicable) for network, applicable in zip(networks, fitting, strict=True)]
    for text in weights:
        index, file = _assigned(text, names, networks, "--weights", "weights.pth")
        if networks[index].weights:
            raise InputError(f"--weights {text}: {networks[index]} has weights already, {networks[index].weights}")
        if not Path(file).is_file():
            raise InputError(f"no weights file {file!r}")
        networks[index] = replace(networks[index], weights=file)
    if resize_weights:
        if not any(network.weights for network in networks):
            raise InputError("--resize-weights goes with --weights FILE")
        networks = [replace(network, resize_weights=bool(network.weights)) for network in networks]
    return labelled(networks, labels, names)


def labelled(networks: Sequence[Network], labels: Sequence[str], names: Sequence[str] = ()) -> list[Network]:
    """Return the networks with the labels of ``LABEL=NAME`` texts.

    Raises:
        InputError: if a text is none, or names none or several of the networks, or one that has a label already.
    """
    label_by_index: dict[int, str] = {}
    for text in labels:
        label, index = _labelled(text, names, networks)
        if label_by_index.setdefault(index, label) != label:
            raise InputError(f"--label: {names[index] if names else networks[index]} has two labels; give it one")
    return [replace(network, label=label_by_index.get(index, network.label)) for index, network in enumerate(networks)]


def in_all_forms(
    networks: Sequence[Network],
    names: Sequence[str],
    transplants: Sequence[TransplantSpec],
    labels: Sequence[str],
    *,
    deploy: bool,
) -> tuple[list[Network], list[str]]:
    """Return networks with their transplants and deploy forms behind them, labelled, and notes on what does not fit.

    A label of the plain network also names its other forms; a label of another form is that form's alone.

    Raises:
        InputError: if a transplant or the deploy form fits none of the networks, or a label names none.
    """
    notes: list[str] = []
    first, later = [], []
    for text in labels:
        try:
            _labelled(text, names, networks)
            first.append(text)
        except InputError:
            if not transplants and not deploy:
                raise
            later.append(text)
    networks = labelled(networks, first, names)
    if transplants:
        networks, notes = with_transplants(networks, transplants)
    if deploy:
        networks = with_deploy_forms(networks)
    return labelled(networks, later), notes


def with_transplants(
    networks: Sequence[Network], transplants: Sequence[TransplantSpec]
) -> tuple[list[Network], list[str]]:
    """Return each network with its transplants behind it, and notes on those where the rules find nothing.

    Raises:
        InputError: if a transplant fits none of the networks.
    """
    arms: list[Network] = []
    notes = []
    fits: dict[TransplantSpec, int] = dict.fromkeys(transplants, 0)
    for network in networks:
        arms.append(network)
        for spec in transplants:
            transplanted = network.with_transplant(spec)
            try:
                build.empty(transplanted)
            except InputError as error:
                if len(networks) == 1:
                    raise
                notes.append(f"{network} stays as it is: {error}.")
                continue
            fits[spec] += 1
            arms.append(transplanted)
    for spec, number in fits.items():
        if not number:
            raise InputError(f"{spec.mixer}: the rules of the transplant fit none of {', '.join(map(str, networks))}")
    return arms, notes


def with_deploy_forms(networks: Sequence[Network]) -> list[Network]:
    """Return the networks, each with its deploy form behind it if it has one.

    Raises:
        InputError: if none has.
    """
    arms: list[Network] = []
    refusals = []
    for network in networks:
        arms.append(network)
        try:
            build.empty(network.deployed())
            arms.append(network.deployed())
        except InputError as error:
            refusals.append(error)
    if len(refusals) == len(networks):
        raise refusals[0]
    return arms


def _labelled(text: str, names: Sequence[str], networks: Sequence[Network]) -> tuple[str, int]:
    """Return the label of ``LABEL=NETWORK`` and which network it is for; both may hold equals signs.

    Raises:
        InputError: if it is no such text, or behind none of its equals signs stands one of the networks.
    """
    parts = text.split("=")
    splits = [("=".join(parts[:at]), "=".join(parts[at:]).strip()) for at in range(1, len(parts))]
    splits = [(" ".join(label.split()), name) for label, name in splits if label.strip() and name]
    if not splits:
        raise InputError(f"--label {text!r}: write LABEL=NETWORK, e.g. --label 'Ours=my_net.py:Net'")
    for label, name in splits[:-1]:
        with contextlib.suppress(InputError):
            return label, index_of(name, networks, "--label", names)
    label, name = splits[-1]
    return label, index_of(name, networks, "--label", names)


def _fitting(network: Network, changes: Mapping[str, object]) -> Mapping[str, object]:
    """Return the changes whose keys a network has."""
    if not changes or network.is_onnx:  # a file fixes all of its settings
        return {}
    if network.spec is not None:
        return overrides.applicable(network.spec, changes)
    try:
        factory = build.origin(network)
    except InputError:
        return {}  # its file is at fault, which shows where it is built
    return {key: value for key, value in changes.items() if factory.accepts(key, value)}


def _nowhere(key: str, value: object, networks: Sequence[Network]) -> None:
    """Raise InputError for a change that fits no network, in the words of the first that can tell its keys."""
    factories = []
    for network in networks:
        with contextlib.suppress(InputError):
            factories += [] if network.spec is not None or network.is_onnx else [build.origin(network)]
    arguments = dict.fromkeys(name for factory in factories for name in factory.argument_names())
    for network in networks:
        if network.spec is not None and not nearest(key, arguments):
            network.changed({key: value})
    listed = ", ".join(network.name for network in networks)
    listed_arguments = f" (arguments: {', '.join(arguments)})" if arguments else ""
    raise InputError(
        f"--set {key}: none of {listed} has an argument {key!r}{nearest(key, arguments)}{listed_arguments}"
    )


def _assigned(
    text: str, names: Sequence[str], networks: Sequence[Network], option: str, example: str
) -> tuple[int, str]:
    """Return which network a ``NAME=FILE`` text belongs to, and the file."""
    cuts = [match.start() for match in re.finditer("=", text)]  # a name may hold changes, and a file's name may too
    for called in _callings(names, networks):
        for cut in reversed(cuts):
            index = _only(text[:cut], called, option)
            if index is not None:
                return index, text[cut + 1 :]
    if len(networks) == 1:
        return 0, text
    raise InputError(f"{option} {text}: with several models write NAME=FILE, e.g. {names[0]}={example}")


def index_of(name: str, networks: Sequence[Network], option: str, names: Sequence[str] = ()) -> int:
    """Return which network a name stands for: its label, its text or any of its names.

    Raises:
        InputError: if it is none of them, or stands for several.
    """
    spellings = {name}
    if not catalog.is_external(name):
        with contextlib.suppress(InputError):
            spellings.add(Network.read(name).text)  # an alias, or changes written otherwise
    for called in _callings(names, networks):
        for spelling in (name, *spellings - {name}):
            index = _only(spelling, called, option)
            if index is not None:
                return index
    if not catalog.is_external(name):
        Network.read(name)  # a mistyped name is reported as one
    raise InputError(f"{option} {name!r} is not among the models: {', '.join(map(str, networks))}")


def _callings(names: Sequence[str], networks: Sequence[Network]) -> list[list[str]]:
    """Return the names of networks, from exact to loose: whole texts first, bare names last."""
    plain = [replace(network, label="") for network in networks]
    return [
        [*map(str, networks)],
        [*names],
        [network.text for network in plain],
        [*map(str, plain)],
        [network.name for network in plain],
    ]


def _only(name: str, called: Sequence[str], option: str) -> int | None:
    """Return which one is called so, or ``None``.

    Raises:
        InputError: if several different ones are.
    """
    indices = [index for index, text in enumerate(called) if text == name]
    if len(indices) > 1:
        raise InputError(
            f"{option} {name!r} stands for {len(indices)} of the models: write one out, or give it a --label"
        )
    return indices[0] if indices else None
