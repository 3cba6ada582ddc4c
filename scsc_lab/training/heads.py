"""Heads of the size that data needs: a linear head of another size is replaced, and a note says so."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from scsc_lab.errors import InputError, first_line
from scsc_lab.training.objectives import as_tensor


def fitted(network: nn.Module, outputs: int, size: tuple[int, int], channels: int = 3) -> str:
    """Give a network a head of as many outputs as the data needs; return a note on the change, empty without one.

    timm's networks do it themselves; else the last linear layer (or 1×1 convolution) that the network defines is
    replaced by a new one, with torch's random weights.

    Args:
        network: changed in place.
        outputs: outputs needed.
        size: height and width of an input, in pixels.
        channels: channels of an input.

    Raises:
        InputError: if the network's output cannot be made ``(N, outputs)``.
    """
    before = shape(network, size, channels)
    if before == (outputs,):
        return ""
    reset: Any = getattr(network, "reset_classifier", None)
    if callable(reset):
        reset(outputs)
    else:
        _replace_last(network, outputs)
    if shape(network, size, channels) != (outputs,):
        raise InputError(
            f"the head gives {'×'.join(map(str, before)) or 'one number'}, not the {outputs} outputs that are needed, "
            "and cannot be replaced"
        )
    return f"its head of {'×'.join(map(str, before)) or 'no'} outputs was replaced by a new one of {outputs}"


def shape(network: nn.Module, size: tuple[int, int], channels: int) -> tuple[int, ...]:
    """Return the shape of the network's output for one image in evaluation, without the batch.

    Raises:
        InputError: if the network fails, or the output is not one tensor with one entry per image.
    """
    training = network.training
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    with torch.no_grad():
        try:
            output = as_tensor(network.eval()(torch.zeros(1, channels, *size, device=device)))
        except InputError:
            raise
        except Exception as error:  # whatever the network's own code raises
            image_shape = "×".join(map(str, (channels, *size)))
            raise InputError(f"it does not take an image of {image_shape}: {first_line(error)}") from None
    network.train(training)
    if output.shape[:1] != (1,):
        raise InputError(f"the network returns a tensor of shape {tuple(output.shape)} for one image")
    return tuple(output.shape[1:])


def _replace_last(network: nn.Module, outputs: int) -> None:
    heads = [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1))
    ]
    if not heads:
        raise InputError("the network has no linear head to replace")
    name, last = heads[-1]
    new: nn.Module
    if isinstance(last, nn.Linear):
        new = nn.Linear(last.in_features, outputs, bias=last.bias is not None)
    else:
        new = nn.Conv2d(last.in_channels, outputs, 1, bias=last.bias is not None)
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, new.to(next(last.parameters()).device))
