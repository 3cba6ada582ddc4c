"""The runtimes that a network is timed in, one file each in this folder, and the registry that finds them.

A file of this folder that sets ``RUNTIME`` is a runtime: ``--runtime`` and its help, tables, figures and reports read
it here and name none. Its package is imported inside its functions: names and help need no torch.
"""

from __future__ import annotations

import abc
import functools
import importlib
import importlib.metadata
import importlib.util
import pkgutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from scsc_lab.errors import InputError, nearest

if TYPE_CHECKING:
    from scsc_lab.runtimes.source import Source
    from scsc_lab.settings import Execution

USUAL = "torch"
"""The default runtime, and the reference of the others."""


class Session(abc.ABC):
    """A network that is set up to run on one input in one runtime."""

    @abc.abstractmethod
    def run(self) -> object:
        """Make one pass; it has ended, or is in the device's queue, when this returns."""

    @abc.abstractmethod
    def outputs(self) -> Sequence[Any]:
        """Return what one pass computes, as NumPy arrays, in the order in which torch flattens the network's output."""

    def describe(self) -> dict[str, Any]:
        """Return its settings as plain data: providers, precision and the like."""
        return {}

    def in_layout(self, memory_format: str) -> Callable[[], object]:
        """Return the pass with weights and input in an order of elements; only where the runtime leaves it open."""
        del memory_format
        return self.run

    def profile(self) -> Profile:
        """Return what makes passes and tells the time of each operator.

        Raises:
            InputError: if the runtime does not tell it.
        """
        raise InputError("this runtime does not report the times of its operators")


class Profile(abc.ABC):
    """Passes whose operators are timed by the runtime itself."""

    @abc.abstractmethod
    def run(self) -> float:
        """Make one pass and return its seconds, without starting and stopping the profiler."""

    @abc.abstractmethod
    def operators(self) -> list[dict[str, float]]:
        """Return the seconds of each kind of operator in every pass made; there is no pass after it."""


@dataclass(frozen=True)
class Runtime:
    """One way of running a network.

    Attributes:
        name: what ``--runtime`` and rows call it.
        title: what tables and figures call it.
        prepare: takes a network and how it is to run, returns it ready to run.
        packages: modules that must be there to import; the first tells the version.
        extra: the extra of this package that brings them.
        dtypes: element types that it computes in.
        format: form of the network that it loads: a ``module``, or an ``onnx`` model.
        trains: whether it makes backward passes too.
        layouts: whether the order of elements of weights and input is for the caller to choose.
        bounded: whether memory may be bounded while it is used: a compiler that it starts would be bound too.
        is_default: whether a report measures it by default.
    """

    name: str
    title: str
    prepare: Callable[[Source, Execution], Session]
    packages: tuple[str, ...] = ("torch",)
    extra: str = ""
    dtypes: tuple[str, ...] = ("float32",)
    format: Literal["module", "onnx"] = "module"
    trains: bool = False
    layouts: bool = False
    bounded: bool = True
    is_default: bool = True

    @property
    def installed(self) -> bool:
        """Whether everything that it needs is there; nothing is imported to find out."""
        return all(importlib.util.find_spec(package) is not None for package in self.packages)

    @property
    def missing(self) -> str:
        """Message for a runtime that is not installed, in one line."""
        return f"{self.title} is not installed: python -m pip install 'scsc-lab[{self.extra}]'"

    @property
    def version(self) -> str:
        """Version of its package."""
        return next(iter(self.versions.values()), "")

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of its packages."""
        versions = {}
        for package in self.packages:
            try:
                versions[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                names = importlib.metadata.packages_distributions().get(package, [])  # onnxruntime-gpu, say
                versions |= {name: importlib.metadata.version(name) for name in names[:1]}
        return versions


@functools.cache
def registry() -> dict[str, Runtime]:
    """Return every runtime by name: those of the modules of this folder that set ``RUNTIME``, in their ``ORDER``."""
    modules = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    runtimes = [module for module in modules if isinstance(getattr(module, "RUNTIME", None), Runtime)]
    runtimes.sort(key=lambda module: getattr(module, "ORDER", 100))
    return {module.RUNTIME.name: module.RUNTIME for module in runtimes}


def find(name: str) -> Runtime:
    """Return a runtime by name.

    Raises:
        InputError: if there is none of that name, or its package is not installed.
    """
    runtimes = registry()
    if name not in runtimes:
        raise InputError(f"runtime {name!r}: one of {', '.join(runtimes)}{nearest(name, runtimes)}")
    if not runtimes[name].installed:
        raise InputError(runtimes[name].missing)
    return runtimes[name]


def title(name: str) -> str:
    """Return what tables call a runtime; its name where it is not known here, in a row from elsewhere say."""
    return registry()[name].title if name in registry() else name


def default_names() -> list[str]:
    """Return the names of the runtimes that a report measures and that are installed."""
    return [name for name, runtime in registry().items() if runtime.is_default and runtime.installed]


def check(names: Collection[str], execution: Execution) -> None:
    """Raise InputError if a runtime does not exist, is not installed, or cannot run what is asked of it."""
    for name in names:
        runtime = find(name)
        if execution.train and not runtime.trains:
            raise InputError(f"{runtime.title} runs inference only: leave --train out")
        if execution.train and execution.streams > 1:
            raise InputError("--streams runs passes of inference at once: leave --train out")
        if execution.dtype not in runtime.dtypes:
            raise InputError(f"dtype {execution.dtype!r}: {runtime.title} is timed in {', '.join(runtime.dtypes)}")
    if execution.memory_format == "channels_last" and not any(find(name).layouts for name in names):
        raise InputError("layout channels_last is for torch: other runtimes order the elements of maps themselves")
