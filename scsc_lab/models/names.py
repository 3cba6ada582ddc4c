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
from scsc_lab.networks.network import Network
from scsc_lab.networks.specs import TransplantSpec


def networks(
    names: Sequence[str],
    changes: Mapping[str, object] | None = None,
    weights: Sequence[str] = (),
    *,
    channels: int | None = None,
    resolution: tuple[int, int] | None = None,
    labels: Sequence[str] = (),
) -> list[Network]:
    """Return the networks of several names, with changes made, weights and labels given.

    Args:
        names: names, each also as a whole text form, ``name[key=value …]``.
        changes: changes to the specs, or arguments of the factories; each goes to every network that has its key.
        weights: checkpoint files: ``FILE`` if there is one network, else ``NAME=FILE``.
        channels: input channels of the networks that have none of their own.
        resolution: input height and width, in pixels, that all are measured at.
        labels: ``LABEL=NAME``: what a network is called.

    Raises:
        InputError: if a name, a change, a file or a label is wrong, or a change fits none.
    """
    found = [replace(Network.read(name), resolution=resolution) for name in names]
    found = [one if one.in_catalog or channels is None else replace(one, channels=channels) for one in found]
    if channels not in (None, 3) and any(one.in_catalog for one in found):
        found = [replace(one, channels=channels) for one in found]  # which says that it takes three
    changes = changes or {}
    fitting = [changes if len(found) == 1 else _fitting(one, changes) for one in found]
    for key in changes:
        if found and not any(key in own for own in fitting):
            _nowhere(key, changes[key], found)
    found = [one.changed(own) for one, own in zip(found, fitting, strict=True)]
    for text in weights:
        index, file = _assigned(text, names, found, "--weights", "weights.pth")
        if found[index].weights:
            raise InputError(f"--weights {text}: {found[index]} has weights already, {found[index].weights}")
        found[index] = replace(found[index], weights=_existing(file))
    for text in labels:
        label, index = _labelled(text, names, found)
        found[index] = replace(found[index], label=label)
    return found


def with_transplants(
    given: Sequence[Network], transplants: Sequence[TransplantSpec]
) -> tuple[list[Network], list[str]]:
    """Return each network with its transplants behind it, and notes on those where the rules find nothing.

    Raises:
        InputError: if a transplant fits none of the networks.
    """
    found: list[Network] = []
    notes = []
    fits: dict[TransplantSpec, int] = dict.fromkeys(transplants, 0)
    for network in given:
        found.append(network)
        for spec in transplants:
            transplanted = network.with_transplant(spec)
            try:
                build.empty(transplanted)
            except InputError as error:
                if len(given) == 1:
                    raise
                notes.append(f"{network} stays as it is: {error}.")
                continue
            fits[spec] += 1
            found.append(transplanted)
    for spec, number in fits.items():
        if not number:
            raise InputError(f"{spec.mixer}: the rules of the transplant fit none of {', '.join(map(str, given))}")
    return found, notes


def with_deploy_forms(given: Sequence[Network]) -> list[Network]:
    """Return the networks, each with its deploy form behind it if it has one.

    Raises:
        InputError: if none has.
    """
    found: list[Network] = []
    refusals = []
    for network in given:
        found.append(network)
        try:
            build.empty(network.deployed())
            found.append(network.deployed())
        except InputError as error:
            refusals.append(error)
    if len(refusals) == len(given):
        raise refusals[0]
    return found


def index_of(name: str, found: Sequence[Network], option: str) -> int:
    """Return which network a name stands for: its label, its text or any of its names.

    Raises:
        InputError: if it is none of them.
    """
    return _named(name, [str(one) for one in found], found, option)


def _labelled(text: str, names: Sequence[str], found: Sequence[Network]) -> tuple[str, int]:
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
            return label, _named(name, names, found, "--label")
    label, name = splits[-1]
    return label, _named(name, names, found, "--label")


def _fitting(network: Network, changes: Mapping[str, object]) -> Mapping[str, object]:
    """Return the changes whose keys a network has."""
    if network.spec is not None:
        return overrides.applicable(network.spec, changes)
    if network.is_onnx:
        return {}  # what it is made of is written in it
    factory = build.origin(network)
    return {key: value for key, value in changes.items() if factory.accepts(key, value)}


def _nowhere(key: str, value: object, found: Sequence[Network]) -> None:
    """Raise InputError for a change that fits no network, in the words of the first that can tell its keys."""
    factories = [build.origin(one) for one in found if one.spec is None and not one.is_onnx]
    own = dict.fromkeys(name for factory in factories for name in factory.argument_names())
    for network in found:
        if network.spec is not None and not nearest(key, own):
            network.changed({key: value})
    listed = ", ".join(network.name for network in found)
    arguments = f" (arguments: {', '.join(own)})" if own else ""
    raise InputError(f"--set {key}: none of {listed} has an argument {key!r}{nearest(key, own)}{arguments}")


def _assigned(text: str, names: Sequence[str], found: Sequence[Network], option: str, example: str) -> tuple[int, str]:
    """Return which network a ``NAME=FILE`` text belongs to, and the file."""
    cuts = [match.start() for match in re.finditer("=", text)]  # a name may hold changes, and a file's name may too
    for called in _callings(names, found):
        for cut in reversed(cuts):
            index = _only(text[:cut], called, option)
            if index is not None:
                return index, text[cut + 1 :]
    if len(found) == 1:
        return 0, text
    raise InputError(f"{option} {text}: with several models write NAME=FILE, e.g. {names[0]}={example}")


def _named(name: str, names: Sequence[str], found: Sequence[Network], option: str) -> int:
    wanted = {name}
    if not catalog.is_external(name):
        with contextlib.suppress(InputError):
            wanted.add(Network.read(name).text)  # an alias, or changes written otherwise
    for called in _callings(names, found):
        for word in (name, *wanted - {name}):
            index = _only(word, called, option)
            if index is not None:
                return index
    if not catalog.is_external(name):
        Network.read(name)  # a mistyped name is said to be one
    raise InputError(f"{option} {name!r} is not among the models: {', '.join(map(str, found))}")


def _callings(names: Sequence[str], found: Sequence[Network]) -> list[list[str]]:
    """Return what networks are called, from the exact to the loose: a bare name comes last, behind whole texts."""
    plain = [replace(network, label="") for network in found]
    return [
        [*map(str, found)],
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
    indices = [index for index, word in enumerate(called) if word == name]
    if len(indices) > 1:
        raise InputError(
            f"{option} {name!r} stands for {len(indices)} of the models: write one out, or give it a --label"
        )
    return indices[0] if indices else None


def _existing(file: str) -> str:
    if not Path(file).is_file():
        raise InputError(f"no weights file {file!r}")
    return file
