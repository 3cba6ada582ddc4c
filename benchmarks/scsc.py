"""SCSC's own speed: the ordinary block and its deploy form beside a straightforward transcription of the six steps.

    python benchmarks/scsc.py                 # CPU: the four stages of SCSC-Swin-T, then whole networks
    python benchmarks/scsc.py --device cuda   # on a GPU, where there is one
    python benchmarks/scsc.py --cpu-time      # on a busy machine: one thread, seconds of the process, not of the wall

The deploy form also runs in ONNX Runtime and OpenVINO, where they are installed.

Samples are taken in pairs in random order, as `scsc-lab latency` takes them; ratios are medians over the pairs with
their 95 % interval. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import io
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scsc_lab.analysis.paired import compare
from scsc_lab.exporting.onnx_graph import onnx_model
from scsc_lab.layers.fused import FusedSCSC, in_order
from scsc_lab.layers.pointwise import gelu
from scsc_lab.layers.scsc import SCSC, channel_slices
from scsc_lab.models import construct
from scsc_lab.models.deploy import deploy
from scsc_lab.networks import catalog
from scsc_lab.provenance import machine, versions
from scsc_lab.settings import Timing
from scsc_lab.timing.rounds import Clock, clock_of, interleave, warm_up

STAGES = ((96, 56, (3, 9, 13)), (192, 28, (3, 7, 11)), (384, 14, (3, 5, 7)), (768, 7, (3, 5)))
GROUPS = 4


class Transcription(nn.Module):
    """The six steps as they are written down, on ``(N, C, H, W)``: copies for the layout, the shuffle and the gates."""

    def __init__(self, scsc: SCSC) -> None:
        super().__init__()
        self.scsc = scsc
        norm = scsc.encoder_norm
        self.shuffled_norm = nn.BatchNorm2d(norm.num_features)
        with torch.no_grad():  # the order after the shuffle, as the released code keeps it
            for name, value in norm.state_dict().items():
                if value.dim():
                    value = value.reshape(-1, scsc.scales).t().reshape(-1)
                self.shuffled_norm.state_dict()[name].copy_(value)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the output tokens, ``(N, H, W, C)`` to the same."""
        part: Any = self.scsc
        m = part.scales
        x = tokens.permute(0, 3, 1, 2).contiguous()
        r = F.gelu(part.reduce_norm(F.conv2d(x, part.reduce.weight)))
        weights = [scale.weight for scale in part.encoder]
        scales = [F.conv2d(r, w, padding=w.shape[2] // 2, groups=r.shape[1]) for w in weights]
        x = torch.cat(scales, dim=1)
        n, channels, height, width = x.shape
        x = x.view(n, channels // m, m, height, width).transpose(1, 2).reshape(n, channels, height, width)
        x = F.gelu(self.shuffled_norm(x))
        gates = torch.sigmoid(F.conv2d(r, part.embed.gates.weight))
        slices = x.view(n, m, GROUPS, -1, height, width).permute(0, 4, 5, 2, 3, 1).contiguous()
        gates = gates.view(n, m, GROUPS, height, width).permute(0, 3, 4, 2, 1).unsqueeze(-1)
        embedded = torch.matmul(slices, gates).reshape(n, height, width, -1).permute(0, 3, 1, 2).contiguous()
        y = part.recover_norm(F.conv2d(embedded, part.recover.weight))
        y = y * torch.sigmoid(part.se.excite(F.relu(part.se.squeeze(y.mean(dim=(2, 3))))))[:, :, None, None]
        return y.permute(0, 2, 3, 1).contiguous()


class OnTokens(nn.Module):
    """A block on tokens, ``(N, H, W, C)`` to the same, as an SCSC-Swin block feeds it."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the output tokens."""
        y: Tensor = self.block(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return y


def in_runtimes(model: nn.Module, x: Tensor) -> dict[str, Callable[[], object]]:
    """Return runs of a network's ONNX file in the runtimes that are installed, with torch's number of threads."""
    found = [name for name in ("onnxruntime", "openvino") if importlib.util.find_spec(name) is not None]
    found = found if importlib.util.find_spec("onnxscript") is not None and x.device.type == "cpu" else []
    file = onnx_model(model, [x]) if found else b""
    return {name: {"onnxruntime": _onnxruntime, "openvino": _openvino}[name](file, x) for name in found}


def _onnxruntime(file: bytes, x: Tensor) -> Callable[[], object]:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    settings.log_severity_level = 3
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    given = {session.get_inputs()[0].name: x.numpy()}
    return lambda: torch.from_numpy(session.run(None, given)[0])


def _openvino(file: bytes, x: Tensor) -> Callable[[], object]:
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "EXECUTION_MODE_HINT": "ACCURACY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
    }
    request = core.compile_model(core.read_model(io.BytesIO(file)), "CPU", settings).create_infer_request()
    given = {0: x.numpy()}
    return lambda: torch.from_numpy(request.infer(given, share_inputs=True)[0])


def convolutions_alone(fused: FusedSCSC, tokens: Tensor) -> Callable[[], object]:
    """Return a run of the fused block's convolutions on inputs that are ready: the floor."""
    x = tokens.permute(0, 3, 1, 2)
    r = fused.reduce(x).contiguous(memory_format=torch.channels_last)
    gates = fused.embed.gates

    def run() -> object:
        return fused.reduce(x), [scale(r) for scale in fused.encoder], gates(r), fused.recover(r)

    return run


PROCESS = Clock("process_time_ns", time.process_time_ns, lambda start, end: (end - start) / 1e9)


def timed(runs: dict[str, Callable[[], object]], clock: Clock, seconds: float) -> dict[str, tuple[float, ...]]:
    """Return samples of every run, taken side by side."""
    with torch.inference_mode():
        for run in runs.values():
            warm_up(run, clock, seconds / 8)
        rounds = interleave(list(runs.values()), Timing(64, 0.0, seconds), clock)
    return dict(zip(runs, rounds.samples, strict=True))


def line(samples: dict[str, tuple[float, ...]], baseline: str) -> tuple[list[str], dict[str, float]]:
    """Return cells with each run's median and its gain over the baseline, and the gains."""
    cells, gains = [], {}
    for name, times in samples.items():
        median = sorted(times)[len(times) // 2]
        cell = f"{1e3 * median:.2f}"
        if name != baseline:
            found = compare(times, samples[baseline])  # the baseline's time divided by this one's: its gain
            gains[name] = found.ratio
            low, high = (f"{x:.2f}" if x is not None else "?" for x in (found.low, found.high))
            cell += f" ({found.ratio:.2f}×, {low}–{high})"
        cells.append(cell)
    return cells, gains


def blocks(
    device: torch.device,
    dtype: torch.dtype,
    batches: tuple[int, ...],
    threads: tuple[int, ...],
    clock: Clock,
) -> None:
    """Time the block in its forms over the four stages, in torch and in the runtimes that are installed."""
    print(f"\nThe block, {str(dtype).removeprefix('torch.')}: ms (× the transcription's speed, 95 % interval)")
    logs: dict[str, list[float]] = {}
    for count in threads:
        torch.set_num_threads(count)
        for batch in batches:
            for channels, side, kernels in STAGES:
                scsc = SCSC(channels, channels, kernels, groups=GROUPS)
                construct.initialise(scsc)
                scsc = scsc.eval().to(device, dtype)
                fused = FusedSCSC(scsc).to(device, dtype)
                tokens = torch.randn(batch, side, side, channels, device=device, dtype=dtype)
                forms = {
                    "transcription": Transcription(scsc).eval().to(device, dtype),
                    "ordinary": OnTokens(scsc),
                    "deploy": OnTokens(fused),
                }
                runs: dict[str, Callable[[], object]] = {
                    name: (lambda m=module, t=tokens: m(t)) for name, module in forms.items()
                }
                if dtype == torch.float32:
                    runs |= in_runtimes(forms["deploy"].eval(), tokens)
                    with torch.inference_mode():
                        expected = runs["transcription"]()
                        for run in runs.values():
                            torch.testing.assert_close(run(), expected, rtol=1e-4, atol=1e-4)
                runs["convolutions alone"] = convolutions_alone(fused, tokens)
                cells, gains = line(timed(runs, clock, 6.0), "transcription")
                if not logs:
                    print(f"\n| stage | batch | threads | {' | '.join(runs)} |\n|:--|--:|--:|{'--:|' * len(runs)}")
                print(f"| {channels} × {side}² {kernels} | {batch} | {count} | {' | '.join(cells)} |", flush=True)
                for name, gain in gains.items():
                    logs.setdefault(name, []).append(math.log(gain))
    means = ", ".join(f"{name} {math.exp(sum(log) / len(log)):.2f}×" for name, log in logs.items())
    print(f"\nGeometric mean over all rows: {means}.")


def networks(
    device: torch.device,
    dtype: torch.dtype,
    batches: tuple[int, ...],
    threads: tuple[int, ...],
    clock: Clock,
) -> None:
    """Time whole networks, ordinary and deployed, beside their baselines."""
    for baseline, scsc in (("swin_tiny", "scsc_swin_tiny"), ("resnet50", "scsc_resnet50")):
        models = {name: construct.from_spec(catalog.find(name).spec) for name in (baseline, scsc)}
        models[f"{scsc} (deploy)"] = deploy(models[scsc])
        models = {name: model.to(device, dtype) for name, model in models.items()}
        print(f"\nms a batch (× the speed of {baseline}, 95 % interval)\n")
        print(f"| batch | threads | {' | '.join(models)} |\n|--:|--:|{'--:|' * len(models)}")
        for count in threads:
            torch.set_num_threads(count)
            for batch in batches:
                x = torch.randn(batch, 3, 224, 224, device=device, dtype=dtype)
                runs: dict[str, Callable[[], object]] = {
                    name: functools.partial(model, x) for name, model in models.items()
                }
                cells, _ = line(timed(runs, clock, 30.0), baseline)
                print(f"| {batch} | {count} | {' | '.join(cells)} |", flush=True)


def where_time_goes(device: torch.device, batch: int, clock: Clock) -> None:
    """Time the parts of the deploy form, each alone on inputs that are ready."""
    print(f"\nWhere the time of the deploy form goes, batch {batch}, one thread: ms\n")
    print("| stage | 1×1 convolutions | depthwise | GELU of the scales | gates and gated sum | SE | sum | whole |")
    print("|:--|--:|--:|--:|--:|--:|--:|--:|")
    torch.set_num_threads(1)
    for channels, side, kernels in STAGES:
        scsc = SCSC(channels, channels, kernels, groups=GROUPS)
        construct.initialise(scsc)
        fused = FusedSCSC(scsc.eval()).to(device)
        x = torch.randn(batch, side, side, channels, device=device).permute(0, 3, 1, 2)
        with torch.inference_mode():
            tokens = fused.reduce(x)
            r = in_order(tokens)
            wide = fused.encoder(r)
            slices = channel_slices(wide, fused.scales, shuffle=fused.shuffle)
            y = fused.recover(tokens)
        runs: dict[str, Callable[[], object]] = {
            "pointwise": lambda f=fused, x=x, r=tokens: (f.reduce(x), f.recover(r)),
            "depthwise": lambda f=fused, r=r: f.encoder(r),
            "gelu": lambda wide=wide: gelu(wide),
            "embed": lambda f=fused, s=slices, r=r: f.embed(s, r),
            "se": lambda f=fused, y=y: y.mul_(f.se.scale(y)),
            "whole": lambda f=fused, x=x: f(x),
        }
        samples = timed(runs, clock, 6.0)
        medians = [1e3 * sorted(times)[len(times) // 2] for times in samples.values()]
        cells = [*medians[:-1], sum(medians[:-1]), medians[-1]]
        print(f"| {channels} × {side}² {kernels} | {' | '.join(f'{cell:.2f}' for cell in cells)} |", flush=True)


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=("blocks", "networks", "parts"))
    parser.add_argument("--cpu-time", action="store_true", help="on a busy machine: one thread, the process's seconds")
    options = parser.parse_args()
    device = torch.device(options.device)
    print(machine(), versions())
    on_cpu = device.type == "cpu"
    batches, threads = ((1, 8), (1, 2)) if on_cpu else ((1, 64), (1,))
    clock = clock_of(device)
    if options.cpu_time:
        clock, threads = PROCESS, (1,)
    for dtype in (torch.float32,) if on_cpu else (torch.float32, torch.bfloat16):
        if options.only in (None, "blocks"):
            blocks(device, dtype, batches, threads, clock)
        if options.only in (None, "networks"):
            networks(device, dtype, batches, threads, clock)
    if options.only in (None, "parts"):
        where_time_goes(device, 8, clock)


if __name__ == "__main__":
    main()
