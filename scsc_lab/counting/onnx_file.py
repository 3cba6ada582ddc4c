"""Reading an ONNX file that may be from anywhere: what it says is checked, and no other file is ever opened for it."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from scsc_lab.errors import InputError

MOST_BYTES = 2**31
"""What one file of protobuf can hold."""

MOST_ELEMENTS = 2**48
"""Elements of the largest tensor that is believed."""

_MOST_NODES = 1_000_000


@dataclass(frozen=True)
class Image:
    """The one image that a graph takes: its name, and each side of ``(N, C, H, W)``, ``None`` where it is open."""

    name: str
    sides: tuple[int | None, int | None, int | None, int | None]


def read(path: Path) -> Any:
    """Return the model of an ONNX file; values that lie in other files are not read, nor needed for counting.

    Raises:
        InputError: if the extra ``onnx`` is not installed, or the file is no whole and sound ONNX model.
    """
    if importlib.util.find_spec("onnx") is None:
        raise InputError("onnx is not installed: python -m pip install 'scsc-lab[onnx]'")
    import onnx

    try:
        size = path.stat().st_size
        if not path.is_file():
            raise InputError(f"{path} is no file")
        if size > MOST_BYTES:
            raise InputError(f"{path} has {size / 1e9:.1f} GB; an ONNX file has 2 GB at most, and more beside it")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    try:
        model = onnx.load_model_from_string(data)
    except Exception:  # protobuf's errors have several parents
        raise InputError(f"{path} is no ONNX file, or not the whole of one") from None
    if not model.graph.node or not model.opset_import:
        raise InputError(f"{path} holds no ONNX graph")
    if len(model.graph.node) > _MOST_NODES:
        raise InputError(f"{path} has {len(model.graph.node):,} nodes; up to {_MOST_NODES:,} are counted")
    for tensor in model.graph.initializer:
        _check_tensor(tensor, path)
    return model


def image(model: Any, path: Path) -> Image:
    """Return the one image that a model takes.

    Raises:
        InputError: if it takes something else.
    """
    own = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in own]
    shapes = [value.type.tensor_type.shape.dim for value in inputs]
    if len(inputs) != 1 or len(shapes[0]) != 4:
        takes = "; ".join(f"{value.name} ({len(dims)} sides)" for value, dims in zip(inputs, shapes, strict=True))
        raise InputError(f"{path} takes {takes or 'nothing'}; networks are counted that take one image, N×C×H×W")
    sides = [int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in shapes[0]]
    if math.prod(side or 1 for side in sides) > MOST_ELEMENTS:
        raise InputError(f"{path} takes an image of impossible sides, {'×'.join(str(side or '?') for side in sides)}")
    return Image(inputs[0].name, (sides[0], sides[1], sides[2], sides[3]))


def _check_tensor(tensor: Any, path: Path) -> None:
    """Raise InputError if a tensor's sides, its values and where they lie do not go together."""
    import onnx

    name = tensor.name or "a tensor"
    elements = math.prod(tensor.dims)
    if any(side < 0 for side in tensor.dims) or elements > MOST_ELEMENTS:
        raise InputError(f"{path}: {name} has impossible sides, {'×'.join(map(str, tensor.dims))}")
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        place = entries.get("location", "")
        roots = PurePosixPath(place).is_absolute() or PureWindowsPath(place).is_absolute()
        if not place or roots or ".." in PurePosixPath(place).parts + PureWindowsPath(place).parts:
            raise InputError(f"{path}: the values of {name} lie outside its folder, at {place!r}")
        return
    try:
        width = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except KeyError:
        raise InputError(f"{path}: {name} has no known element type") from None
    if tensor.raw_data and tensor.data_type not in _PACKED and len(tensor.raw_data) != elements * width:
        raise InputError(f"{path}: {name} has {elements:,} elements and {len(tensor.raw_data):,} bytes of them")


_PACKED = frozenset({21, 22, 23, 25, 26})
"""Element types of less than a byte: (u)int4, float4, (u)int2."""
