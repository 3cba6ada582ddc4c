"""Parameters, multiply-accumulates, activations and bytes of any network, from one forward pass without arithmetic.

The pass runs on the meta device. Costs are taken where nothing can hide, at ATen's operators; names are taken from the
torch functions that the network called.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from scsc_lab.counting.recorder import META, Dispatch, Functions, Tally, followed
from scsc_lab.errors import InputError, last_line
from scsc_lab.execution.passes import evaluating
from scsc_lab.records import Cell, Count


def count(model: nn.Module, input_shape: Sequence[int], *, dtype: torch.dtype = torch.float32) -> Count:
    """Count one forward pass of a network in evaluation mode.

    The network is left as it was: a copy without storage is counted, on the meta device. A network that cannot run
    there (its control flow reads values, say) is counted on a real copy with random input, and the result says so.

    Args:
        model: any network; one already on the meta device is counted as it is, with no copy.
        input_shape: shape of its one input, ``(N, C, H, W)`` for images.
        dtype: type of the input.

    Returns:
        MACs: one for every multiply-accumulate of convolutions, matrix products, attention's two products and sums of
        products. Activations: elements written by those. Bytes: read and written by every operator on its own.

    Raises:
        InputError: if the forward pass fails on an input of this shape.
    """
    model = getattr(model, "_orig_mod", model)
    device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), META)
    remark = ""
    if device != META:
        try:
            return _count(meta_copy(model), input_shape, dtype, META, remark)
        except Exception as error:  # whatever the network's own code raises where there are no values to look at
            remark = f"not countable on the meta device ({last_line(error)})"
            model = copy.deepcopy(model)
    try:
        return _count(model, input_shape, dtype, device, remark)
    except Exception as error:  # the network's own code again, now with nothing left to try
        size = "×".join(map(str, input_shape))
        raise InputError(f"the network fails on an input of {size}: {last_line(error)}") from error


def meta_copy(model: nn.Module) -> nn.Module:
    """Return a copy of a network whose parameters and buffers are on the meta device; nothing is allocated."""
    memo: dict[int, Any] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        empty = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=META)
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    return copy.deepcopy(model, memo)


def _count(model: nn.Module, shape: Sequence[int], dtype: torch.dtype, device: torch.device, remark: str) -> Count:
    tally = Tally(on_meta=device == META)
    with torch.random.fork_rng(devices=[]), torch.no_grad(), evaluating(model):
        x = torch.empty(*shape, dtype=dtype, device=device)
        if not tally.on_meta:
            x.normal_()
        with followed(model, tally), Dispatch(tally), Functions(tally):
            model(x)
    cells = tuple(
        Cell(module, operator, entry.calls, entry.macs, entry.activations, entry.bytes, entry.fvcore, listed)
        for (module, operator, listed), entry in tally.entries.items()
    )
    return Count(cells, _own_params(model), tuple(tally.unknown.items()), device.type, remark)


def _own_params(model: nn.Module) -> dict[str, int]:
    """Return the parameters each module owns itself, by name; a shared one counts at its first owner."""
    seen: set[int] = set()
    owned: dict[str, int] = {}
    for name, module in model.named_modules():
        own = [parameter for parameter in module.parameters(recurse=False) if id(parameter) not in seen]
        seen |= {id(parameter) for parameter in own}
        owned[name] = sum(parameter.numel() for parameter in own)
    return owned
