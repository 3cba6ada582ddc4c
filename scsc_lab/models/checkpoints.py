"""Weights from files: torchvision's ResNet, timm's and Microsoft's Swin, the released SCSC networks, and our own."""

from __future__ import annotations

import argparse
import contextlib
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scsc_lab.errors import InputError, first_line, imported
from scsc_lab.layers.scsc import SCSC
from scsc_lab.models import resizing

StateDict = dict[str, Tensor]

_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""Element types that weights are read from; those of one byte go with scales, which no state dict has."""

_START = 512
_MOST_KEYS = 8
_WRAPPERS = (
    "model",
    "state_dict",
    "model_state_dict",
    "net",
    "network",
    "params",
    "state_dict_ema",
    "model_ema",
    "ema",
    "teacher",
)
_PREFIXES = ("_orig_mod.", "module.", "model.", "net.", "network.", "backbone.", "teacher.", "ema.", "model_ema.")
_AVERAGED = "n_averaged"
"""The number of updates that torch's AveragedModel keeps beside the weights."""

_REBUILT = re.compile(r"\.(relative_position_index|attn_mask)$")

_RELEASED_MODULE = (
    ("reduction_c.", "reduce."),
    ("bn1.", "reduce_norm."),
    ("layers.", "encoder."),
    ("bn2.", "encoder_norm."),
    ("routing_fc.", "embed.gates."),
    ("recover_c.", "recover."),
    ("bn3.", "recover_norm."),
    ("se.fc.0.", "se.squeeze."),
    ("se.fc.2.", "se.excite."),
)
"""Names of the SCSC module in the released checkpoints, and here."""


def load(model: nn.Module, path: Path, *, resize: bool = False) -> None:
    """Load a checkpoint into a network, whoever wrote it; the keys say which form it has.

    Args:
        model: the network.
        path: the file.
        resize: make weights of another input size, window or head fit (:mod:`scsc_lab.models.resizing`).

    Raises:
        InputError: if the file cannot be read, wants to run code, or belongs to another network (the message has the
            first missing, unexpected and misshapen keys).
    """
    state, expected = fitted(model, path, resize=resize).state, model.state_dict()
    for key, value in expected.items():
        if key in state and (fault := _unfit(state[key], value)):
            raise InputError(f"{path} cannot be loaded: {key} is {fault}; save it as float32")
        if key in state and state[key].is_floating_point() and not torch.isfinite(state[key]).all():
            raise InputError(f"{path} cannot be loaded: {key} is not finite, as after a run that diverged")
    model.load_state_dict(state, strict=False)


def fitted(model: nn.Module, path: Path, *, resize: bool) -> resizing.Fitted:
    """Return the weights of a file by a network's own names, and notes on resizing.

    Raises:
        InputError: as :func:`load`.
    """
    state = unwrap(read(path), str(path))
    expected = model.state_dict()
    unknown = next((key for key, value in expected.items() if torch.nn.parameter.is_lazy(value)), None)
    if unknown is not None:
        raise InputError(f"{path} cannot be loaded: the network's {unknown} has no shape before its first pass")
    state = _without_prefixes(state, expected, resizing.head_of(model))
    if not state.keys() <= expected.keys():
        state = translate(state, model)
    weights = resizing.fit(state, model) if resize else resizing.Fitted(state)
    if difference := _difference(weights.state, expected):
        with contextlib.suppress(InputError):
            if not resize and not _difference(resizing.fit(state, model).state, expected):
                difference += "; --resize-weights makes them fit"
        raise InputError(f"{path} holds the weights of another network: {difference}")
    return weights


def _difference(state: StateDict, expected: Mapping[str, Tensor]) -> str:
    """Return which keys of two networks' weights differ; empty if none."""
    faults = {
        "missing": [key for key in expected if key not in state and not key.endswith("num_batches_tracked")],
        "unexpected": [key for key in state if key not in expected],
        "misshapen": [
            f"{key} {tuple(state[key].shape)} for {tuple(expected[key].shape)}"
            for key in expected
            if key in state and not state[key].is_nested and state[key].shape != expected[key].shape
        ],
    }
    return "; ".join(f"{len(keys)} {fault} (first: {keys[0]})" for fault, keys in faults.items() if keys)


def _unfit(value: Tensor, expected: Tensor) -> str:
    """Return what a tensor of a file is that cannot become a weight as it stands, or an empty text."""
    if value.is_meta:
        return "without values (on the meta device)"
    if value.is_nested or value.layout is not torch.strided or value.is_quantized:
        return "sparse, nested or quantized"
    if value.is_complex() or (expected.is_floating_point() and value.dtype not in _FLOATS):
        return f"{str(value.dtype).removeprefix('torch.')} for {str(expected.dtype).removeprefix('torch.')}"
    return ""


def read(path: Path) -> Any:
    """Return what a checkpoint file holds, without running any code in it.

    Raises:
        InputError: if there is no such file, it is damaged, or it holds pickled code.
    """
    if not path.is_file():
        raise InputError(f"no weights file {str(path)!r}")
    if kind := _other_kind(path):
        raise InputError(f"{path} is {kind}")
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols; what cannot be read is an error below
            with torch.serialization.safe_globals([argparse.Namespace]):  # a training script's arguments: data alone
                return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "unsupported global" in str(error).lower() or _names_objects(path):
            content = "holds objects other than tensors, which could run code"
            raise InputError(f"{path} {content}: save its state_dict() alone and load that") from None
        raise InputError(f"{path} is not a checkpoint of torch, or is damaged") from None
    except InputError:
        raise
    except Exception:  # torch's readers of old formats raise whatever the bytes lead them to
        raise InputError(f"{path} is not a checkpoint of torch, or is damaged") from None


def _names_objects(path: Path) -> bool:
    """Return whether a file is a plain pickle that names classes or functions; nothing of it is run."""
    with contextlib.suppress(Exception):  # whatever the bytes lead to
        opcodes = [opcode.name for opcode, _, _ in pickletools.genops(path.read_bytes())]
        return any("GLOBAL" in name for name in opcodes)
    return False


def _other_kind(path: Path) -> str:
    """Return which other file a checkpoint is, and what to do about it; empty if none that is often taken for one."""
    with path.open("rb") as file:
        start = file.read(_START).lstrip(b"\xef\xbb\xbf\r\n\t ").lower()
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file that it stands for: fetch that with `git lfs pull`"
    if not start:
        return "empty"
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "a web page, not a checkpoint: download the file itself"
    with contextlib.suppress(zipfile.BadZipFile, OSError), zipfile.ZipFile(path) as archive:
        names = [name.partition("/")[2] for name in archive.namelist()]
        if "constants.pkl" in names:
            return "a TorchScript program: save torch.jit.load(…).state_dict() and load that"
        if "archive_format" in names or "serialized_exported_program.json" in archive.namelist():
            return "a program of torch.export: save torch.export.load(…).state_dict and load that"
    return ""


def unwrap(checkpoint: Any, name: str = "the checkpoint") -> StateDict:
    """Return the state dict inside a checkpoint: itself, or under ``model``, ``state_dict`` or the like.

    Raises:
        InputError: if there is none.
    """
    for wrapper in _WRAPPERS:
        if isinstance(checkpoint, Mapping) and isinstance(checkpoint.get(wrapper), Mapping):
            checkpoint = checkpoint[wrapper]
    if not isinstance(checkpoint, Mapping) or not checkpoint:
        raise InputError(f"{name} holds {type(checkpoint).__name__}, not a state dict of tensors")
    state = {str(key): value for key, value in checkpoint.items() if isinstance(value, Tensor)}
    if not state:
        keys = [*map(str, checkpoint)]
        listed = ", ".join(keys[:_MOST_KEYS]) + (f", … ({len(keys)} in all)" if len(keys) > _MOST_KEYS else "")
        raise InputError(f"{name} holds no tensors under its keys {listed}; was it saved from state_dict()?")
    return state


def _without_prefixes(state: StateDict, expected: Mapping[str, Tensor], head: str) -> StateDict:
    """Return a state dict without what wrappers put before its keys, unless the network's keys have it too.

    Where a prefix leads to all of the network's weights but those of its head, what lies beside it belongs to the
    training: a loss, a projection head or a second network.
    """
    if _AVERAGED not in expected:
        state = {key: value for key, value in state.items() if key != _AVERAGED}
    optional = re.compile(rf"num_batches_tracked$|{_REBUILT.pattern}|^{re.escape(head)}\.")
    needed = {key for key in expected if not optional.search(key)}
    while not needed <= state.keys():
        inside = {prefix: {key for key in state if key.startswith(prefix)} for prefix in _PREFIXES}
        prefix = next((prefix for prefix, keys in inside.items() if len(keys) == len(state)), "") or next(
            (prefix for prefix, keys in inside.items() if needed <= {key.removeprefix(prefix) for key in keys}), ""
        )
        if not prefix or any(key.startswith(prefix) for key in expected):
            break
        state = {key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)}
    return state


def translate(state: StateDict, model: nn.Module) -> StateDict:
    """Return a state dict under the names that our networks use; one that already has them comes back as it is."""
    state = {key: value for key, value in state.items() if not _REBUILT.search(key)}
    if any("reduction_c." in key for key in state):
        return _from_released(state, model)
    stages = [int(match[1]) for key in state if (match := re.match(r"layers\.(\d+)\.", key))]
    if stages and any(key.startswith(f"layers.{max(stages)}.downsample.") for key in state):
        return dict(map(_from_timm, state.items()))
    return state


def _from_timm(item: tuple[str, Tensor]) -> tuple[str, Tensor]:
    """Rename timm's Swin: it merges patches at the start of a stage, Microsoft's code at the end of the one before."""
    key, value = item
    if match := re.match(r"layers\.(\d+)\.downsample\.(.*)", key):
        key = f"layers.{int(match[1]) - 1}.downsample.{match[2]}"
    return key.replace("head.fc.", "head."), value


def _from_released(state: StateDict, model: nn.Module) -> StateDict:
    """Rename the released SCSC networks, and bring each encoder's BatchNorm into the order of the encoder."""
    modules = {name: module for name, module in model.named_modules() if isinstance(module, SCSC)}
    blocks = {_released_prefix(name): name for name in modules}
    renamed: StateDict = {}
    for key, value in state.items():
        block = next((released for released in blocks if key.startswith(released)), None)
        inner = key.removeprefix(block) if block is not None else ""
        match = next(((old, new) for old, new in _RELEASED_MODULE if inner.startswith(old)), None)
        if block is None or match is None:
            renamed[key] = value
            continue
        inner = re.sub(r"^(encoder\.\d+)\.0\.", r"\1.", inner.replace(match[0], match[1], 1))
        scsc = modules[blocks[block]]
        if match[1] == "encoder_norm." and scsc.shuffle and value.dim() == 1:
            value = _unshuffled(value, scsc.scales)
        renamed[f"{blocks[block]}.{inner}"] = value
    return renamed


def _released_prefix(name: str) -> str:
    """Return where the released code keeps the SCSC module that is here called ``name``."""
    swin = name.startswith("layers.")
    return name.removesuffix("scsc") + ("attn2conv." if swin else "")


def _unshuffled(values: Tensor, scales: int) -> Tensor:
    """Bring per-channel values from the order after the channel shuffle to the order of the concatenated scales."""
    return values.reshape(scales, -1).t().reshape(-1) if values.numel() % scales == 0 else values


def _read_safetensors(path: Path) -> Any:
    safetensors = imported("safetensors.torch", f"{path} needs safetensors: pip install safetensors")
    try:
        return safetensors.load_file(path)
    except Exception as error:  # safetensors_rust has one exception type of its own, not exported on every version
        raise InputError(f"{path} is damaged: {first_line(error)}") from None
