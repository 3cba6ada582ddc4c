"""Put every mixer into networks of twelve families of timm, and see how it starts: gradients and outputs, both modes.

    python benchmarks/transplants.py                      # every family, a table a family
    python benchmarks/transplants.py resnet swin          # some families

Weights are random. A row tells, over the original's: the norm of all gradients of one cross-entropy step and the
variance of the output, in training mode and in evaluation mode, whether float32 and bfloat16 give finite gradients on
square, odd and non-square inputs. The last line names what has another variance than the original by a factor of 10 or
more, or a gradient that is not finite; the original must stay as it was, or the script fails.
"""

from __future__ import annotations

import argparse
import math
import warnings
from typing import Any

import timm
import torch
from torch import nn
from torch.nn import functional as F

from scsc_lab import InputError, transplant
from scsc_lab.networks import mixers

SIDE = 64
FACTOR = 10
ODD = {"swin": (76, 76), "hrnet": (96, 96)}
"""Inputs of families that refuse 67×67 themselves: 19 patches a side; 3×3 maps at the coarsest resolution."""
SWIN = {"img_size": SIDE, "window_size": 4, "embed_dim": 48, "strict_img_size": False}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "convnext": ("convnext_atto", {"ls_init_value": None}),
    "resnet": ("resnet18", {"zero_init_last": False}),
    "regnet": ("regnety_002", {"zero_init_last": False}),
    "efficientnet": ("efficientnet_b0", {}),
    "mobilenetv3": ("mobilenetv3_small_050", {}),
    "densenet": ("densenet121", {}),
    "swin": ("swin_tiny_patch4_window7_224", SWIN),
    "convmixer": ("ConvMixer", {"dim": 256, "depth": 8}),  # timm's smallest takes hours here: its class, smaller
    "inception_next": ("inception_next_atto", {}),
    "repvgg": ("repvgg_a0", {}),
    "poolformer": ("poolformer_s12", {}),
    "hrnet": ("hrnet_w18_small", {}),
}


def step(model: nn.Module, x: torch.Tensor, training: bool) -> tuple[float, float, bool]:
    """Return the norm of the gradients of one step, the variance of the output, and whether all are finite."""
    model.train(training).zero_grad()
    torch.manual_seed(1)
    out = model(x)
    F.cross_entropy(out.float(), torch.arange(len(x)) * 7 % out.shape[1]).backward()
    gradients = [parameter.grad.double() for parameter in model.parameters() if parameter.grad is not None]
    finite = all(bool(gradient.isfinite().all()) for gradient in gradients)
    return math.sqrt(sum(float(one.square().sum()) for one in gradients)), float(out.detach().float().var()), finite


def row(model: nn.Module, mixer: str, sizes: list[tuple[int, int]]) -> tuple[str, bool]:
    """Return what becomes of one network with one mixer, as a line of a Markdown table, and whether all is well."""
    before = {key: value.clone() for key, value in model.state_dict().items()}
    torch.manual_seed(0)
    try:
        grafted, changes = transplant(model.eval(), mixer, input_shape=(1, 3, SIDE, SIDE))
    except InputError as error:
        return f"| {mixer} | {error} | | | | | |", False
    x = torch.randn(8, 3, SIDE, SIDE)
    new, old = step(grafted, x, False), step(model, x, False)  # training moves the statistics that evaluation uses
    finite = new[2]
    with torch.no_grad():
        images = torch.randn(32, 3, SIDE, SIDE)
        variance = float(grafted(images).var() / model(images).var())
    figures = [new[0] / old[0], variance]
    new, old = step(grafted, x, True), step(model, x, True)
    finite &= new[2]
    figures = [new[0] / old[0], new[1] / old[1], *figures]
    model.load_state_dict(before)
    finite &= all(step(grafted, torch.randn(2, 3, *size), True)[2] for size in sizes)
    low, _ = transplant(model.bfloat16(), mixer, input_shape=(1, 3, SIDE, SIDE))
    finite &= all(step(low, torch.randn(2, 3, *size).bfloat16(), True)[2] for size in sizes)
    model.float().load_state_dict(before)
    replaced = sum(change.replaced for change in changes)
    words = " | ".join(f"{figure:.2g}" for figure in figures)
    tame = finite and all(1 / FACTOR < variance < FACTOR for variance in figures[1::2])
    return f"| {mixer} | {replaced} | {words} | {'yes' if finite else 'no'} |", tame


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", default=list(FAMILIES), metavar="FAMILY")
    wild: list[str] = []
    for family in parser.parse_args().families:
        name, arguments = FAMILIES[family]
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            make = getattr(timm.models.convmixer, name, None)
            model = make(**arguments) if make else timm.create_model(name, **arguments)
        kept = {key: value.clone() for key, value in model.state_dict().items()}
        print(f"\n### {family}: {name}, {SIDE}×{SIDE}\n")
        print("| mixer | replaced | gradient, training | variance | gradient, evaluation | variance | finite |")
        print("|---|---|---|---|---|---|---|")
        sizes = [(SIDE, SIDE), ODD.get(family, (67, 67)), (64, 96)]
        for mixer in mixers.names():
            line, tame = row(model, mixer, sizes)
            print(line, flush=True)
            wild += [] if tame else [f"{mixer} in {family}"]
        assert all(torch.equal(value, kept[key]) for key, value in model.state_dict().items())
    print(f"\nBeyond a factor of {FACTOR}, or not finite: {', '.join(wild) or 'none'}.")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
