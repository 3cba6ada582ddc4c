"""Networks from elsewhere: timm, torchvision, and factories in your own files and modules.

Naming a file or a module runs its code; nothing else here does. Nothing is downloaded.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from scsc_lab.errors import InputError, nearest
from scsc_lab.models.build import uninitialised

Factory = Callable[..., Any]

_WORDS = {"true": True, "false": False, "none": None}


@dataclass(frozen=True)
class External:
    """A network from elsewhere, found but not built.

    Attributes:
        name: as the user wrote it.
        factory: makes the network from keyword arguments.
        resolution: native input height and width, in pixels, where it is known.
        channels: native input channels, where they are known.
        mean, std: native input normalisation, where it is known.
    """

    name: str
    factory: Factory
    resolution: tuple[int, int] | None = None
    channels: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def accepts(self, key: str) -> bool:
        """Return whether the factory takes a keyword argument of this name."""
        try:
            parameters = inspect.signature(self.factory).parameters.values()
        except (TypeError, ValueError):
            return True
        return any(p.kind is p.VAR_KEYWORD or (p.name == key and p.kind is not p.POSITIONAL_ONLY) for p in parameters)

    def make(self, arguments: Mapping[str, object]) -> nn.Module:
        """Return the network, built by its own code, in evaluation mode.

        Raises:
            InputError: if the factory wants other arguments, fails, or returns no module.
        """
        try:
            inspect.signature(self.factory).bind(**arguments)
        except TypeError as error:
            raise InputError(f"{self.name}: {error}; give keyword arguments with --set key=value") from None
        except ValueError:
            pass  # a factory without a signature, written in C say: calling it will tell
        try:
            model = self.factory(**arguments)
        except Exception as error:  # whatever the network's own code raises
            raise InputError(f"{self.name} cannot be built: {described(error)}") from error
        if not isinstance(model, nn.Module):
            raise InputError(f"{self.name} returned {type(model).__name__}, not an nn.Module")
        return model.eval()

    def make_empty(self, arguments: Mapping[str, object], device: str) -> nn.Module:
        """Return the network with weights that do not matter: on ``meta`` if its code can do without values."""
        if device == "meta":
            try:
                with torch.device("meta"), uninitialised():
                    return self.make(arguments)
            except InputError:
                pass  # its constructor reads values; counting makes a meta copy of the real network
        return self.make(arguments)


def find(name: str) -> External:
    """Return the network of ``timm:NAME``, ``torchvision:NAME``, ``FILE.py:FACTORY`` or ``PACKAGE.MODULE:FACTORY``.

    Raises:
        InputError: if it is not installed, does not import, or has no such network or factory.
    """
    source, _, rest = name.partition(":")
    if not rest:
        raise InputError(f"{name!r} names no network: write {source}:NAME")
    if source == "timm":
        return _from_timm(name, rest)
    if source == "torchvision":
        return _from_torchvision(name, rest)
    module = _file(Path(source)) if source.endswith(".py") else _module(source)
    factory = getattr(module, rest, None)
    if not callable(factory):
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise InputError(f"{source} has no factory {rest!r}{nearest(rest, public)}")
    return External(name, factory)


def parse_value(text: object) -> object:
    """Return the value of a ``--set`` text for a factory: a Python literal, a word such as ``true``, or the text."""
    if not isinstance(text, str):
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def described(error: BaseException) -> str:
    """Return an error's type and last line, and the file and line that raised it, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError):
        where = f" ({Path(error.filename or '?').name}, line {error.lineno})"
        lines = [error.msg]
    else:
        where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{': ' + lines[-1] if lines else ''}{where}"


def _from_timm(name: str, rest: str) -> External:
    timm = _installed("timm", "python -m pip install 'scsc-lab[timm]'")
    architecture = rest.partition(".")[0]
    if not timm.is_model(architecture):
        raise InputError(f"timm has no architecture {rest!r}{nearest(architecture, timm.list_models())}")

    def create(**arguments: Any) -> nn.Module:
        model: nn.Module = timm.create_model(architecture, pretrained=False, **arguments)
        return model

    config = timm.get_pretrained_cfg(rest, allow_unregistered=False)
    if config is None:
        config = timm.get_pretrained_cfg(architecture)
    if config is None:
        return External(name, create)
    channels, height, width = config.input_size
    return External(name, create, (height, width), channels, tuple(config.mean), tuple(config.std))


def _from_torchvision(name: str, rest: str) -> External:
    models = _installed("torchvision.models", "python -m pip install torchvision")
    known = models.list_models()
    if rest not in known:
        raise InputError(f"torchvision has no network {rest!r}{nearest(rest, known)}")

    def create(**arguments: Any) -> nn.Module:
        model: nn.Module = models.get_model(rest, weights=None, **arguments)
        return model

    return External(name, create)


def _installed(name: str, command: str) -> Any:
    package = name.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        raise InputError(f"{package} is not installed: {command}")
    try:
        return importlib.import_module(name)
    except Exception as error:  # a package that is installed and broken raises what it likes
        raise InputError(f"{package} is installed but does not import: {described(error)}") from error


def _file(path: Path) -> ModuleType:
    """Run a file as a module, with its folder importable, as ``python FILE`` would."""
    if not path.is_file():
        raise InputError(f"no file {str(path)!r}")
    spec = importlib.util.spec_from_file_location(f"_scsc_lab_{path.stem}", path.resolve())
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's own code raises
        raise InputError(f"{path} does not import: {described(error)}") from error
    finally:
        sys.path.remove(folder)
    return module


def _module(name: str) -> ModuleType:
    here = str(Path.cwd())
    try:
        sys.path.insert(0, here)  # as `python -m` has it: packages in the working folder are found
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            file = f"{name.replace('.', '/')}.py"
            raise InputError(f"no module {name!r}; write a file with its suffix, e.g. {file}:make_model") from None
        raise InputError(f"{name} does not import: {described(error)}") from error
    except (Exception, SystemExit) as error:  # whatever the user's own code raises
        raise InputError(f"{name} does not import: {described(error)}") from error
    finally:
        sys.path.remove(here)
