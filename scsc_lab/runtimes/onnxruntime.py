"""ONNX Runtime: an ONNX model with its own fusions, on the CPU or by CUDA; its threads do not spin between passes."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scsc_lab.errors import InputError
from scsc_lab.runtimes import Profile, Runtime, Session

if TYPE_CHECKING:
    from scsc_lab.runtimes.source import Source
    from scsc_lab.settings import Execution

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_QUIET = 3


class _Session(Session):
    """A session whose input and outputs stay where the device is, so that a pass copies nothing."""

    def __init__(self, source: Source, execution: Execution, profiles: Path | None = None) -> None:
        import onnxruntime

        from scsc_lab.execution.passes import together

        self.source, self.execution = source, execution
        kind, _, index = execution.device.partition(":")
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = _QUIET
        settings.intra_op_num_threads = execution.threads
        settings.inter_op_num_threads = 1
        settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        for pool in ("intra_op", "inter_op"):  # a thread that waits spinning takes time from what is timed next
            settings.add_session_config_entry(f"session.{pool}.allow_spinning", "0")
        if profiles is not None:
            settings.enable_profiling = True
            settings.profile_file_prefix = str(profiles / "profile")
        first = (_PROVIDERS[kind], {"device_id": index or "0"}) if kind == "cuda" else _PROVIDERS[kind]
        self.session = onnxruntime.InferenceSession(source.onnx, settings, providers=[first])
        if self.session.get_providers()[0] != _PROVIDERS[kind]:
            raise InputError(f"ONNX Runtime cannot run {source.label} on {execution.device}: --device cpu")
        names = [input_.name for input_ in self.session.get_inputs()]
        self.bindings = [self.session.io_binding() for _ in range(execution.streams)]
        self.inputs = []  # a binding reads their memory without keeping it
        for binding in self.bindings:
            for name, x in zip(names, source.tensors(names), strict=True):
                value = onnxruntime.OrtValue.ortvalue_from_numpy(x.cpu().numpy(), kind, int(index or 0))
                binding.bind_ortvalue_input(name, value)
                self.inputs.append(value)
            for output in self.session.get_outputs():
                binding.bind_output(output.name, kind, int(index or 0))
        at_once = [partial(self.session.run_with_iobinding, binding) for binding in self.bindings]
        self._run = together(at_once, replace(execution, device="cpu"))  # in threads: a run returns when it is done

    def run(self) -> None:
        """Make the passes of all streams; it returns when the device is done."""
        self._run()

    def outputs(self) -> Sequence[Any]:
        self.run()
        return [value.numpy() for value in self.bindings[0].get_outputs()]

    def describe(self) -> dict[str, Any]:
        return {"provider": self.session.get_providers()[0], "fusion": "all", "spinning": False}

    def profile(self) -> Profile:
        return _Profile(self.source, self.execution)


class _Profile(Profile):
    """A session of its own that writes down when each node began and how long it took."""

    def __init__(self, source: Source, execution: Execution) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._session = _Session(source, execution, Path(self._folder.name))

    def run(self) -> float:
        start = time.perf_counter()
        self._session.run()
        return time.perf_counter() - start

    def operators(self) -> list[dict[str, float]]:
        with self._folder:
            events = json.loads(Path(self._session.session.end_profiling()).read_text())
        passes = sorted((event["ts"], event["ts"] + event["dur"]) for event in events if event["name"] == "model_run")
        nodes = sorted(
            (event["ts"], event["args"]["op_name"], event["dur"])
            for event in events
            if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
        )
        by_pass: list[dict[str, float]] = []
        for start, end in passes:
            seconds: dict[str, float] = {}
            for at, operator, spent in nodes:
                if start <= at <= end:
                    seconds[operator] = seconds.get(operator, 0.0) + spent / 1e6
            by_pass.append(seconds)
        return by_pass


def prepare(source: Source, execution: Execution) -> Session:
    """Return a session of a network's ONNX model.

    Raises:
        InputError: if the device has no provider in the package that is installed.
    """
    import onnxruntime

    kind = execution.device.partition(":")[0]
    if _PROVIDERS.get(kind) not in onnxruntime.get_available_providers():
        hint = "; python -m pip install onnxruntime-gpu brings it" if kind == "cuda" else ""
        raise InputError(f"device {execution.device!r}: ONNX Runtime has no provider for it here{hint}; --device cpu")
    return _Session(source, execution)


RUNTIME = Runtime("onnxruntime", "ONNX Runtime", prepare, ("onnxruntime", "onnx", "onnxscript"), "onnx", format="onnx")
ORDER = 2
