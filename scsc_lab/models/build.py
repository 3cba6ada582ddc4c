"""From a network as data to a module: found, built, weights loaded, transplanted, fused."""

from __future__ import annotations

import copy
import functools
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from scsc_lab.counting import onnx_file
from scsc_lab.errors import InputError, last_line
from scsc_lab.execution.passes import check_ends
from scsc_lab.models import checkpoints, construct, external
from scsc_lab.models.declared import USUAL_RESOLUTION, Declared, declared
from scsc_lab.networks import catalog
from scsc_lab.networks.network import Network
from scsc_lab.networks.values import InputTensor

if TYPE_CHECKING:
    from scsc_lab.counting.onnx_graph import OnnxGraph


@dataclass(frozen=True)
class Facts:
    """Facts that a network declares, or assumptions where it declares nothing.

    Attributes:
        resolution: input height and width, in pixels.
        resolution_assumed: whether nothing says the resolution, so that 224×224 was taken.
        channels: input channels.
        mean, std: input normalisation of each channel, for pixels from 0 to 1.
        smallest_side: smallest input side, in pixels, that it takes.
    """

    resolution: tuple[int, int] = USUAL_RESOLUTION
    resolution_assumed: bool = False
    channels: int = 3
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    smallest_side: int = 1


def facts(network: Network) -> Facts:
    """Return what a network says about itself; one from elsewhere is looked for.

    Raises:
        InputError: if it is not there, or does not take the resolution it is to be measured at.
    """
    if not takes_image(network):
        listed = f"--input {' '.join(map(str, network.inputs))}" if network.inputs else "other inputs than one image"
        raise InputError(
            f"{network} takes {listed}, with which it can be counted, timed and exported, and nothing else"
        )
    entry = network.entry
    if entry is not None:
        native = Facts(network.resolution or entry.resolution, False, 3, entry.mean, entry.std, catalog.SMALLEST_SIDE)
    elif network.module is not None:
        native = _facts(network, declared(network.module) or Declared())
    else:
        native = _facts(network, _declared(network, state(network)))
    if min(native.resolution) < native.smallest_side:
        raise InputError(
            f"resolution {min(native.resolution)}: {network} takes sides from {native.smallest_side} pixels up"
        )
    return native


def takes_image(network: Network) -> bool:
    """Return whether a network is measured with one image, ``(N, C, H, W)``.

    Raises:
        InputError: if it is an ONNX file that cannot be read.
    """
    if network.inputs:
        return False
    return not network.is_onnx or onnx_file.is_image(_graph_inputs(network.name, state(network)))


def inputs(network: Network, batch: int = 1) -> tuple[InputTensor, ...]:
    """Return the tensors that a network is measured with: those that are named, those of its ONNX file, or an image.

    Args:
        network: the network.
        batch: images in one pass.

    Raises:
        InputError: if nothing says the sizes of an ONNX file's inputs, the named ones are not its own, or they come
            with a batch.
    """
    if network.inputs and batch != 1:
        raise InputError(f"a batch of {batch}: --input names the whole input, with its batch")
    if takes_image(network):
        native = facts(network)
        inputs: tuple[InputTensor, ...] = (InputTensor((batch, native.channels, *native.resolution)),)
    else:
        inputs = network.inputs
    if network.is_onnx:
        return tuple(onnx_file.with_names(_graph_inputs(network.name, state(network)), inputs, Path(network.name)))
    return inputs


def build(network: Network, seed: int | None = None) -> nn.Module:
    """Return a network as a module in evaluation mode, with its weights.

    Args:
        network: the network.
        seed: seed of random weights; without one they come from torch's global generator.

    Raises:
        InputError: if it cannot be found or built, its weights are wrong, or it has no such form.
    """
    _require_module(network)
    with _seeded(seed):
        return _formed(_original(network), network, checked=True)


def empty(network: Network, device: str = "meta") -> nn.Module:
    """Return a network with weights that do not matter, for counting: on ``meta`` without memory.

    Raises:
        InputError: as :func:`build`.
    """
    if network.is_onnx:
        return _onnx(network)
    if network.spec is not None:
        model: nn.Module = construct.empty(network.spec, device)
    elif network.module is not None:
        model = _original(network)
    else:
        model = origin(network).make_empty(_arguments(network), device)
    return _formed(model, network, checked=False)


def _original(network: Network) -> nn.Module:
    """Return the network with its weights, before anything is put in or fused."""
    if network.spec is not None:
        return construct.from_spec(network.spec, network.weights or None, resize=network.resize_weights)
    if network.module is not None:
        assert isinstance(network.module, nn.Module)
        module = getattr(network.module, "_orig_mod", network.module)
        try:
            check_ends(module)
            return copy.deepcopy(module)
        except Exception as error:  # a lock or an open file inside it, say
            raise InputError(
                f"{network} cannot be copied, and the original must stay unchanged: {last_line(error)}"
            ) from error
    model = origin(network).make(_arguments(network))
    if network.weights:
        checkpoints.load(model, Path(network.weights), resize=network.resize_weights)
    return model


def _formed(model: nn.Module, network: Network, *, checked: bool) -> nn.Module:
    """Return a module with its transplant, in its form; a deploy form is checked where its weights matter."""
    try:
        if network.transplant is None and network.form == "ordinary":
            return model
        input_facts = facts(network)
        shape = (1, input_facts.channels, *input_facts.resolution)
        if network.transplant is not None:
            from scsc_lab.models.transplant import transplant  # most networks are counted as they are

            model = transplant(model, network.transplant, input_shape=shape)[0].eval()
        if network.form != "deploy":
            return model
        from scsc_lab.models.deploy import deploy_form

        return deploy_form(model, shape, checked=checked)
    except InputError as error:
        raise InputError(f"{network}: {error}") from None


def origin(network: Network) -> external.External:
    """Return the source of an external network; its file runs again only if the file or an import of it changed."""
    _require_module(network)
    if network.factory is not None:
        return external.External(network.name, network.factory)
    return _found_once(network.name, state(network))


def state(network: Network) -> Hashable:
    """Return what changes when the code or the file of a network does."""
    return None if network.factory is not None else external.state(network.name)


def _onnx(network: Network) -> OnnxGraph:
    """Return an ONNX file as a module that can be counted and nothing else."""
    from scsc_lab.counting.onnx_graph import OnnxGraph  # 40 ms, and seldom needed

    if network.transplant is not None or network.form != "ordinary" or network.weights or network.overrides:
        _require_module(network)
    return OnnxGraph(Path(network.name))


def _require_module(network: Network) -> None:
    """Raise InputError for an ONNX file where a module is needed."""
    if network.is_onnx:
        raise InputError(
            f"{network.name}: an ONNX file is not a torch module: it has no gradients, nothing in it can be replaced; "
            "it can be counted (flops) and timed (latency --runtime onnxruntime)"
        )


@functools.lru_cache(maxsize=64)
def _graph_inputs(name: str, state: Hashable) -> tuple[onnx_file.GraphInput, ...]:
    return onnx_file.inputs(onnx_file.read(Path(name)), Path(name))


@functools.lru_cache(maxsize=64)
def _found_once(name: str, state: Hashable) -> external.External:
    return external.find(name)


def distinction(network: Network) -> Hashable:
    """Return what two networks of one source differ in: the spec, or all arguments of the factory with its defaults."""
    if network.spec is not None or network.module is not None or network.is_onnx:
        return network.spec or network.overrides
    return repr(sorted({**origin(network).defaults(), **_arguments(network)}.items()))


def _arguments(network: Network) -> dict[str, object]:
    factory = origin(network)
    arguments: dict[str, object] = {key: factory.value(key, value) for key, value in network.overrides}
    if network.channels is not None and factory.channels not in (None, network.channels):
        arguments.setdefault("in_chans", network.channels)  # timm's word; only its networks tell their own channels
    return arguments


@functools.lru_cache(maxsize=256)
def _declared(network: Network, state: Hashable) -> Declared:
    if network.is_onnx:
        (image,) = _graph_inputs(network.name, state)
        _, channels, height, width = image.sides or (None,) * 4
        return Declared((height, width) if height and width else None, channels)
    return origin(network).declared(_arguments(network))


def _facts(network: Network, declaration: Declared) -> Facts:
    channels = network.channels or declaration.channels or 3
    resolution = network.resolution or declaration.resolution
    return Facts(
        resolution or USUAL_RESOLUTION,
        resolution is None,
        channels,
        _per_channel(declaration.mean, Facts.mean, channels),
        _per_channel(declaration.std, Facts.std, channels),
    )


def _per_channel(
    declared_values: tuple[float, ...] | None, defaults: tuple[float, ...], channels: int
) -> tuple[float, ...]:
    values = declared_values or defaults
    return values if len(values) == channels else (sum(values) / len(values),) * channels


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Draw random weights from a seed, and leave torch's global generator as it was."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
