"""Parameters, multiply-accumulates, activations and bytes of any network, from one pass without arithmetic.

The pass runs on the meta device. Costs are taken where nothing can hide, at ATen's operators; names are taken from the
torch functions that the network called.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from scsc_lab.analysis.count import Cell, Count
from scsc_lab.counting.recorder import followed
from scsc_lab.counting.tally import Memory, Tally
from scsc_lab.counting.tensors import META, check_strided
from scsc_lab.errors import InputError, last_line, located_by_user
from scsc_lab.execution.passes import alone, check_ends, evaluating, random_values, replaced, tensors, unsampled


def count(
    model: nn.Module,
    input_shape: Sequence[int] | None = None,
    *,
    inputs: Any = None,
    keywords: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
    backward: bool = False,
) -> Count:
    """Count one forward pass of a network in evaluation mode, or forward and backward in training mode.

    The network is left as it was: a copy without storage is counted, on the meta device. A network that cannot run
    there (its control flow reads values, say) is counted on a real copy with random input, and the result says so.

    Args:
        model: any network; one already on the meta device is counted as it is, with no copy.
        input_shape: shape of its one input, ``(N, C, H, W)`` for images; in place of ``inputs``.
        inputs: what ``forward`` takes: a shape (whole numbers) or a tensor; several in a tuple or list; a mapping of
            keyword arguments. Tuples, lists and dictionaries may be nested; what is no shape or tensor is passed on. A
            tensor on the meta device stands for its shape and type.
        keywords: keyword arguments of ``forward``, as ``inputs``.
        dtype: type of the tensors that shapes stand for. Default: the type of the network's first parameter.
        backward: whether the gradients of all parameters that want one are counted too, as a training step has them:
            those of the inputs are only where a given tensor wants one.

    Returns:
        MACs: one for every multiply-accumulate of convolutions, matrix products, attention's two products and sums of
        products (:mod:`scsc_lab.counting.products`). Activations: elements written by those. Bytes: read and written by
        every operator on its own.

    Raises:
        InputError: if the pass fails on these inputs, whatever it raises, or the network cannot be copied.
    """
    if input_shape is not None and inputs is not None:
        raise InputError("give input_shape or inputs, not both")
    args = _arguments(next((value for value in (input_shape, inputs) if value is not None), ()), keywords)
    model = getattr(model, "_orig_mod", model)
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise InputError(f"{name} has no shape yet: run a lazy network once before it is counted")
    state = (*model.parameters(), *model.buffers())
    device = next((tensor.device for tensor in state), torch.device("cpu"))
    if dtype is None:
        types = [x.dtype for x in state if x.is_floating_point()] + [x.dtype for x in state if x.is_complex()]
        dtype = next(iter(types), torch.float32)
    remark = ""
    try:
        check_ends(model)
        with alone():
            if device != META:
                try:
                    empty = meta_copy(model)
                    return _count(empty, args, dtype, META, remark, backward)
                except (Exception, SystemExit) as error:  # the network's own code, without values
                    remark = f"not countable on the meta device ({last_line(error)})"
                    model = _copy(model, {})
            elif backward:
                model = meta_copy(model)
            return _count(model, args, dtype, device, remark, backward)
    except (KeyboardInterrupt, GeneratorExit, InputError):
        raise
    except BaseException as error:  # the network's own code again, now with nothing left to try
        raise InputError(f"the network fails on an input of {_described(args)}: {located_by_user(error)}") from error


def meta_copy(model: nn.Module) -> nn.Module:
    """Return a copy of a network whose parameters and buffers are on the meta device; nothing is allocated.

    Raises:
        InputError: if the network holds what cannot be copied, as a lock.
        RuntimeError: if it holds tensors that are not strided.
    """
    memo: dict[int, Any] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        check_strided(tensor)
        empty = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=META)
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    return _copy(model, memo)


def _copy(model: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """Return a deep copy; results of a pass that the network holds are copied without their graph."""
    original = Tensor.__deepcopy__

    def copied(x: Tensor, memo: dict[int, Any]) -> Tensor:
        if x.layout is not torch.strided:  # torch copies only some of these
            result = x.detach().clone()
            result = nn.Parameter(result, x.requires_grad) if isinstance(x, nn.Parameter) else result
        else:
            result = original(x if x.is_leaf else x.detach(), memo)  # type: ignore[no-untyped-call]
        memo[id(x)] = result
        return result

    with replaced(Tensor, "__deepcopy__", copied):
        try:
            return copy.deepcopy(model, memo)
        except Exception as error:  # whatever a part of it says to being copied
            raise InputError(f"the network cannot be copied: {last_line(error)}") from error


def _count(
    model: nn.Module,
    arguments_: tuple[tuple[Any, ...], dict[str, Any]],
    dtype: torch.dtype,
    device: torch.device,
    remark: str,
    backward: bool,
) -> Count:
    memory = Memory((*model.parameters(), *model.buffers()))
    tally = Tally(memory, on_meta=device == META, backward=backward)
    mode = torch.enable_grad() if backward else torch.no_grad()
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), mode, evaluating(model, training=backward):
        args, keywords = _example(arguments_, device, dtype)
        memory.hold(tensors([args, keywords]))
        with followed(model, tally), unsampled():
            out = model(*args, **keywords)
        if backward:
            ends = _ends(out)
            ones = [torch.ones(x.shape, dtype=x.dtype, device=x.device) for x in ends]
            memory.hold(ones)
            with followed(model, tally), unsampled():
                torch.autograd.backward(ends, ones)
    cells = tuple(
        Cell(
            *(module, operator, entry.calls, entry.macs, entry.activations, entry.bytes, entry.fvcore, listed),
            *(entry.elementwise, entry.norms),
        )
        for (module, operator, listed), entry in tally.entries.items()
    )
    unknown = tally.unknown + Counter(getattr(model, "not_counted", {}))  # what a module has said in no torch operator
    for graph in filter(None, map(_frozen_graph, model.modules())):
        unknown += Counter(node.kind() for node in graph.findAllNodes("prim::mkldnn_convolution"))  # runs unseen
    return Count(
        cells,
        _parameters_by_module(model),
        tuple(unknown.items()),
        device.type,
        remark,
        sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        memory.peak,
        tally.outputs,
    )


def _ends(out: Any) -> list[Tensor]:
    """Return the outputs that gradients start from, of objects with attributes too; a loss is not part of a network."""
    outputs = list(tensors(out)) or list(tensors(dict(getattr(out, "__dict__", {}))))
    ends = [x for x in outputs if x.requires_grad]
    if not ends:
        raise InputError("no parameter of the network requires a gradient: there is no backward pass")
    return ends


def _parameters_by_module(model: nn.Module) -> dict[str, int]:
    """Return the number of parameters each module registers itself, by name; a shared one counts at its first owner."""
    counted: set[int] = set()
    owned: dict[str, int] = {}
    for name, module in model.named_modules():
        registered = (*module.parameters(recurse=False), *_constants(module))
        new = {id(parameter): parameter for parameter in registered if id(parameter) not in counted}
        counted |= new.keys()
        owned[name] = sum(parameter.numel() for parameter in new.values())
    return owned


def _constants(module: nn.Module) -> list[Tensor]:
    """Return the weights of frozen TorchScript, which are constants of its graph: all floating-point tensors there."""
    graph = _frozen_graph(module)
    nodes = [node for kind in _CONSTANTS for node in graph.findAllNodes(kind)] if graph else []
    used = [node for node in nodes if node.hasAttribute("value") and node.output().uses()]
    values = [node.t("value") for node in used if node.kindOf("value") == "t"]
    weights = [x for x in values if x.is_floating_point() and x.dim()]
    return list({id(x) if x.is_mkldnn else x.data_ptr(): x for x in weights}.values())


_CONSTANTS = ("prim::Constant", "prim::ConstantMKLDNNTensor")


def _frozen_graph(module: nn.Module) -> Any:
    """Return the graph of frozen TorchScript, which has constants for weights; None for any other module."""
    is_frozen = isinstance(module, torch.jit.ScriptModule) and not module._c.hasattr("training")
    return module.graph if is_frozen else None


def _arguments(inputs: Any, keywords: Mapping[str, Any] | None = None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the positional and keyword arguments of a forward pass, with shapes still in place of tensors.

    Args:
        inputs: one shape or tensor; a tuple or list of arguments; or a mapping of keyword arguments.
        keywords: keyword arguments beside them.

    Raises:
        InputError: if there is no input, or a keyword is no text.
    """
    if isinstance(inputs, Mapping):
        inputs, keywords = (), {**inputs, **(keywords or {})}
    elif _is_shape(inputs) or not isinstance(inputs, (tuple, list)):
        inputs = (inputs,)
    keywords = dict(keywords or {})
    wrong = next((key for key in keywords if not isinstance(key, str)), None)
    if wrong is not None:
        raise InputError(f"keyword arguments are named by texts, not by {wrong!r}")
    if not inputs and not keywords:
        raise InputError("give an input: a shape, e.g. (1, 3, 224, 224), a tensor, or several of them")
    return tuple(inputs), keywords


def _example(value: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Return arguments with tensors on a device: random ones for shapes, copies of real ones; all else as it is."""
    if isinstance(value, Tensor):
        if device.type == "meta":
            empty = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=device)
            return empty.requires_grad_(value.requires_grad)
        if value.is_meta:
            return random_values(value.shape, value.dtype).to(device)
        return value.detach().clone().to(device).requires_grad_(value.requires_grad)
    if _is_shape(value):
        x = torch.empty(tuple(value), dtype=dtype, device=device)
        return x.normal_() if device.type != "meta" and x.is_floating_point() else x
    if isinstance(value, Mapping):
        return {key: _example(item, device, dtype) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        items = [_example(item, device, dtype) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def _described(value: Any) -> str:
    """Return the shapes of arguments as text, ``1×3×224×224``."""
    shapes = [tuple(x) if _is_shape(x) else tuple(x.shape) for x in _leaves(value)]
    return ", ".join("×".join(map(str, shape)) or "one number" for shape in shapes)


def _leaves(value: Any) -> list[Any]:
    if _is_shape(value):
        return [value]
    if isinstance(value, Mapping):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, (tuple, list)):
        return [leaf for item in value for leaf in _leaves(item)]
    return list(tensors(value))


def _is_shape(value: Any) -> bool:
    """Return whether a value is a shape: a tuple or list of whole numbers (``torch.Size`` too)."""
    is_sequence = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    return (
        is_sequence and len(value) > 0 and all(isinstance(side, int) and not isinstance(side, bool) for side in value)
    )
