"""OpenVINO: an ONNX model compiled for the CPU, in the precision that is asked for; alone it would take a lower one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scsc_lab.errors import InputError
from scsc_lab.runtimes import Profile, Runtime, Session

if TYPE_CHECKING:
    from scsc_lab.runtimes.source import Source
    from scsc_lab.settings import Execution

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


class _Session(Session):
    """A compiled model and one request per stream, whose inputs are where the request reads them."""

    def __init__(self, source: Source, execution: Execution, *, profiled: bool = False) -> None:
        import openvino

        self.source, self.execution = source, execution
        precision = _PRECISIONS[execution.dtype]
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "EXECUTION_MODE_HINT": "ACCURACY" if precision == "f32" else "PERFORMANCE",
            "PERFORMANCE_HINT": "LATENCY" if execution.streams == 1 else "THROUGHPUT",
            "INFERENCE_NUM_THREADS": execution.threads * execution.streams,
            "NUM_STREAMS": execution.streams,
            "ENABLE_CPU_PINNING": False,  # the others are not pinned either
            "PERF_COUNT": profiled,
        }
        core = openvino.Core()
        self.compiled = core.compile_model(core.read_model(source.onnx), "CPU", settings)
        precision_taken = self.compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if precision_taken != precision:
            raise InputError(
                f"dtype {execution.dtype!r}: OpenVINO computes in {precision_taken} on this CPU; --dtype float32"
            )
        self.requests = [self.compiled.create_infer_request() for _ in range(execution.streams)]
        self.request = self.requests[0]
        names = [input_.any_name for input_ in self.compiled.inputs]
        self.arrays = [[x.numpy() for x in source.tensors(names)] for _ in self.requests]
        for request, arrays in zip(self.requests, self.arrays, strict=True):
            for at, array in enumerate(arrays):
                request.set_input_tensor(at, openvino.Tensor(array, shared_memory=True))

    def run(self) -> None:
        """Make one pass per stream."""
        if len(self.requests) == 1:
            self.request.infer()
            return
        for request in self.requests:
            request.start_async()
        for request in self.requests:
            request.wait()

    def outputs(self) -> Sequence[Any]:
        self.run()
        return [self.request.get_output_tensor(index).data.copy() for index in range(len(self.compiled.outputs))]

    def describe(self) -> dict[str, Any]:
        keys = ("INFERENCE_PRECISION_HINT", "INFERENCE_NUM_THREADS", "NUM_STREAMS", "ENABLE_CPU_PINNING")
        properties = {key.lower(): self.compiled.get_property(key) for key in keys}
        return {
            key: value if isinstance(value, (bool, int, str)) else _text(value) for key, value in properties.items()
        }

    def profile(self) -> Profile:
        return _Profile(self.source, self.execution)


class _Profile(Profile):
    """A session of its own that is asked after each pass what every node took."""

    def __init__(self, source: Source, execution: Execution) -> None:
        self._session = _Session(source, execution, profiled=True)
        self._passes: list[dict[str, float]] = []

    def run(self) -> float:
        start = time.perf_counter()
        self._session.run()
        total_seconds = time.perf_counter() - start
        seconds: dict[str, float] = {}
        for node in self._session.request.get_profiling_info():
            spent = node.real_time.total_seconds()
            if spent > 0:
                seconds[node.node_type] = seconds.get(node.node_type, 0.0) + spent
        self._passes.append(seconds)
        return total_seconds

    def operators(self) -> list[dict[str, float]]:
        return self._passes


def _text(value: Any) -> str:
    return str(value.to_string() if hasattr(value, "to_string") else value)


def prepare(source: Source, execution: Execution) -> Session:
    """Return a compiled model.

    Raises:
        InputError: if the device is none of its, or the CPU does not compute in the precision.
    """
    if execution.device != "cpu":
        raise InputError(f"device {execution.device!r}: OpenVINO is timed on the CPU; --device cpu")
    return _Session(source, execution)


RUNTIME = Runtime(
    "openvino",
    "OpenVINO",
    prepare,
    ("openvino", "onnx", "onnxscript"),
    "openvino",
    dtypes=tuple(_PRECISIONS),
    format="onnx",
)
ORDER = 3
