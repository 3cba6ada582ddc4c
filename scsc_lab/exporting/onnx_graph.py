"""From a module to an ONNX model: torch's current exporter, then only such changes as leave every number as it was.

BatchNorm stays BatchNorm and every parameter stays one, under its own name, so that the file can be compared with the
network it came from; runtimes fold what they like when they load it. ``--deploy`` is what folds here.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, TensorArgument
from torch.utils import _pytree

from scsc_lab.errors import InputError, last_line
from scsc_lab.execution.agreement import Run
from scsc_lab.execution.passes import arrays
from scsc_lab.exporting import trace
from scsc_lab.exporting.trace import of_four_axes, quiet, traced

OPSETS = (18, 23)
"""The oldest and the newest opset that can be asked for."""

EXTRA = "python -m pip install 'scsc-lab[onnx]'"
"""Command that installs the packages that write and run ONNX files."""

KIND = "pkg.torch.export.graph_signature.InputSpec.kind"
"""The word under which torch's exporter says what an initializer is: ``PARAMETER``, ``BUFFER``, ``CONSTANT_TENSOR``."""

SCOPES = "pkg.torch.onnx.name_scopes"
"""The word under which it says in which module a node stands: a list of names, the operator's own last."""

BATCH = "batch"
"""Name of an open number of images in a file."""

_MOST_BYTES = 2**31 - 1
_LARGEST_FOLDED = 64
_KEPT = (KIND, SCOPES)


def onnx_model(
    model: nn.Module,
    inputs: Sequence[Tensor],
    *,
    dynamic_batch: bool = False,
    opset: int | None = None,
    about: dict[str, str] | None = None,
) -> bytes:
    """Return a network as the bytes of an ONNX file of standard operators, which any runtime of ONNX reads.

    One input ``input`` (``input_1``, … where there are several) and one output ``output`` (``output_1``, …), in the
    order in which ``forward`` takes and returns them, of the inputs' element type. What comes out is not checked here:
    see :mod:`scsc_lab.execution.agreement`.

    Args:
        model: any network, in whatever form and element type; it is left as it is.
        inputs: example inputs, e.g. ``[torch.randn(1, 3, 224, 224)]``; their shapes are the file's.
        dynamic_batch: whether the number of images is left open. Default: that of the inputs.
        opset: version of ONNX's operators, in :data:`OPSETS`. Default: the exporter's own.
        about: text by key that is kept in the file.

    Raises:
        InputError: if the packages are missing, the network cannot be exported (with the module and the operator at
            fault), or it does not fit the 2 GB of one file.
    """
    require_packages()
    program = traced(model, inputs, dynamic_batch=dynamic_batch)
    if other_outputs := _other_outputs(program):
        raise InputError(
            f"it returns {', '.join(sorted(other_outputs))} as well as tensors; an ONNX file holds tensors only"
        )
    outputs = len(program.graph_signature.user_outputs)
    with quiet(), torch.no_grad():
        try:
            exported = torch.onnx.export(
                of_four_axes(program),
                dynamo=True,
                verbose=False,
                optimize=False,
                opset_version=opset,
                input_names=_names("input", len(inputs)),
                output_names=_names("output", outputs),
            )
            assert exported is not None
            graph = _tidied(exported.model)
        except (KeyboardInterrupt, MemoryError):
            raise
        except BaseException as error:  # whatever exporter and passes raise
            raise InputError(f"torch.onnx cannot write it{trace.of(error, model, program)}") from error
    written = graph.opset_imports.get("", 0)
    if opset is not None and written != opset:
        raise InputError(f"--opset {opset}: torch's exporter gives opset {written} for it and cannot convert that")
    for key, value in (about or {}).items():
        graph.metadata_props[key] = value
    size = sum(value.const_value.nbytes for value in graph.graph.initializers.values() if value.const_value is not None)
    if size > _MOST_BYTES:
        raise InputError(f"its weights take {size / 1e9:.1f} GB; one ONNX file holds 2 GB")
    import onnx_ir

    data: bytes = onnx_ir.to_proto(graph).SerializeToString()
    return data


def opset_of(data: bytes) -> int:
    """Return the version of ONNX's operators that a file's bytes are written in."""
    import onnx

    model = onnx.load_model_from_string(data)
    return next((int(imported.version) for imported in model.opset_import if imported.domain in ("", "ai.onnx")), 0)


def require_packages() -> None:
    """Raise InputError if one of the packages that write ONNX files is not installed."""
    for name in ("onnx", "onnxscript"):
        if importlib.util.find_spec(name) is None:
            raise InputError(f"{name} is not installed: {EXTRA}")


def _other_outputs(program: ExportedProgram) -> set[str]:
    """Return the types of what a network returns that is no tensor."""
    outputs = [spec.arg for spec in program.graph_signature.output_specs]
    constants = [
        output.value for output in outputs if isinstance(output, ConstantArgument) and output.value is not None
    ]
    sizes = [output for output in outputs if not isinstance(output, (ConstantArgument, TensorArgument))]
    return {type(value).__name__ for value in constants} | ({"a size"} if sizes else set())


def _names(prefix: str, number: int) -> list[str]:
    return [prefix] if number == 1 else [f"{prefix}_{index}" for index in range(1, number + 1)]


def _tidied(model: Any) -> Any:
    """Return an exporter's model without what computes shapes, zero biases and multiplications by one.

    Constants of more than a few elements are not folded, parameters never: a weight that is turned over stays the
    weight, a table that an index picks from stays the table. What the file then says of its nodes and tensors is
    no path of this machine.
    """
    from onnx_ir.passes import common
    from onnxscript import optimizer

    common.InlinePass()(model)
    for _ in range(2):  # what the first makes constant the second folds
        optimizer.fold_constants(
            model,
            onnx_shape_inference=False,
            input_size_limit=_LARGEST_FOLDED,
            output_size_limit=2**20,
            should_fold=lambda node: False if any(map(_is_parameter, node.inputs)) else None,
        )
        common.CommonSubexpressionEliminationPass()(model)
        common.IdentityEliminationPass()(model)
        _drop_what_does_nothing(model)
        common.RemoveUnusedNodesPass()(model)
    _name_batch(model)
    for value in model.graph.initializers.values():
        if value.const_value is not None:
            value.const_value.metadata_props[KIND] = value.metadata_props.get(KIND, "CONSTANT_TENSOR")
    for node in model.graph.all_nodes():
        node.doc_string = None
        for key in [key for key in node.metadata_props if key not in _KEPT]:
            del node.metadata_props[key]
    return model


def _name_batch(model: Any) -> None:
    """Call an open number of images ``batch`` in the file's inputs and outputs, where torch calls it ``s77`` or so."""
    import onnx_ir

    sizes = {str(x.shape[0]) for x in model.graph.inputs if x.shape and isinstance(x.shape[0], onnx_ir.SymbolicDim)}
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value.shape is not None:
            sides = [BATCH if str(side) in sizes else side for side in value.shape]
            value.shape = onnx_ir.Shape(sides)


def _drop_what_does_nothing(model: Any) -> None:
    """Take out biases of zeros and multiplications by one that the exporter put in; parameters stay, whatever they are.

    ``torch.addcmul`` is written with a factor of one, a convolution without bias with a bias of zeros.
    """
    for node in model.graph:
        if node.op_type in ("Conv", "ConvTranspose") and len(node.inputs) > 2 and _is_constant(node.inputs[2], 0.0):
            node.resize_inputs(2)
        elif node.op_type == "Mul" and len(node.inputs) == 2:
            a, b = node.inputs
            for value, factor in ((a, b), (b, a)):  # a factor of one element, so that nothing is broadcast
                if _is_constant(value, 1.0, scalar=True) and not node.outputs[0].is_graph_output():
                    node.outputs[0].replace_all_uses_with(factor)
                    break


def _is_parameter(value: Any) -> bool:
    return value is not None and value.metadata_props.get(KIND) == "PARAMETER"


def _is_constant(value: Any, number: float, *, scalar: bool = False) -> bool:
    """Return whether a value is a constant of the exporter's own making whose elements are all one number."""
    import onnx_ir

    if value is None or KIND in value.metadata_props:
        return False
    tensor = onnx_ir.convenience.get_const_tensor(value)
    return tensor is not None and not (scalar and tensor.shape.numpy()) and bool((tensor.numpy() == number).all())


def in_onnxruntime(data: bytes) -> Run:
    """Return passes of an ONNX file's bytes in ONNX Runtime, on the CPU.

    Raises:
        InputError: if it is not installed, or refuses the file.
    """
    require_onnxruntime()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no public parent
        raise InputError(f"ONNX Runtime refuses what torch's exporter wrote: {last_line(error)}") from error
    names = [x.name for x in session.get_inputs()]

    def run(inputs: Sequence[Tensor]) -> Sequence[Any]:
        fed = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
        return list(session.run(None, fed))

    return run


def require_onnxruntime() -> None:
    """Raise InputError if ONNX Runtime is not installed."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise InputError(f"onnxruntime is not installed: {EXTRA}")


def in_torch(data: bytes) -> Run:
    """Return passes of a ``.pt2`` file's bytes, loaded by ``torch.export``.

    Raises:
        InputError: if it cannot load them.
    """
    try:
        with quiet():
            module: Any = torch.export.load(io.BytesIO(data)).module()
    except Exception as error:  # what its own format cannot hold shows here
        raise InputError(f"torch.export refuses its own file: {last_line(error)}") from error

    def run(inputs: Sequence[Tensor]) -> Sequence[Any]:
        with quiet(), torch.no_grad():
            return arrays(_pytree.tree_leaves(module(*inputs)))

    return run
