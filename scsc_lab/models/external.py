"""Networks from elsewhere: timm, torchvision, and factories in your own files and modules.

Naming a file or a module runs its code; nothing else here does. Nothing is downloaded unless an argument asks for
pretrained weights.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import typing
import warnings
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from scsc_lab.errors import InputError, located, nearest
from scsc_lab.execution import ending
from scsc_lab.execution.passes import check_ends
from scsc_lab.models import folders
from scsc_lab.models.construct import NoInitialisation
from scsc_lab.models.declared import Declared, declared
from scsc_lab.networks import catalog, values

Factory = Callable[..., Any]


@dataclass(frozen=True)
class External:
    """A network from elsewhere, found but not built.

    Attributes:
        name: as the user wrote it.
        factory: makes the network from keyword arguments.
        resolution: native input height and width, in pixels, where it is known.
        channels: native input channels, where they are known.
        mean, std: native input normalisation, where it is known.
        crop: side of the centre over the shorter side, and filter, in evaluation, where its weights say so.
        folder: the folder of its code, if that is the user's.
        inputs: description of its input; empty: one image.
    """

    name: str
    factory: Factory
    resolution: tuple[int, int] | None = None
    channels: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    crop: tuple[float, str] | None = None
    folder: Path | None = None
    inputs: str = ""

    def argument_names(self) -> list[str]:
        """Return the keyword arguments that the factory names."""
        return [p.name for p in self._parameters() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]

    def defaults(self) -> dict[str, object]:
        """Return the defaults of the keyword arguments that the factory names."""
        return {p.name: p.default for p in self._parameters() if p.default is not p.empty}

    def accepts(self, key: str, value: object = None) -> bool:
        """Return whether the factory takes a keyword argument; one that takes any is called to find out."""
        if key in self.argument_names():
            return True
        if not self._takes_any():
            return False
        try:
            self.make_empty({key: self.value(key, value)}, "meta")
        except InputError as error:
            return not isinstance(error.__cause__, TypeError) or repr(key) not in str(error)
        return True

    def value(self, key: str, text: object) -> object:
        """Return the value of an argument given as text, as the factory's annotation and default want it.

        Raises:
            InputError: if it is of another type.
        """
        return values.argument(key, text, self._annotation(key), self.defaults().get(key))

    def make(self, arguments: Mapping[str, object]) -> nn.Module:
        """Return the network, built by its own code, in evaluation mode.

        Raises:
            InputError: if the factory wants other arguments, fails, or returns no module that can be measured.
        """
        names = self.argument_names()
        unknown = next((key for key in arguments if key not in names), None)
        if unknown is not None and not self._takes_any():
            listed = f"its arguments are {', '.join(names)}" if names else "it takes none"
            raise InputError(f"{self.name} has no argument {unknown!r}{nearest(unknown, names)} ({listed})")
        try:
            inspect.signature(self.factory).bind(**arguments)
        except TypeError as error:
            raise InputError(f"{self.name}: {error}; give keyword arguments with --set key=value") from None
        except ValueError:
            pass  # a factory without a signature, written in C say: calling it will tell
        try:
            with ending.time_limit(self.name):
                model = self.call(**arguments)
            if isinstance(model, nn.Module):
                check_ends(model)
                if any(tensor.is_inference() for tensor in (*model.parameters(), *model.buffers())):
                    raise RuntimeError("its weights were made in torch.inference_mode(): build it outside")
                model.eval()
        except ending.TimeLimitError:
            raise
        except (Exception, SystemExit) as error:  # whatever the network's own code raises
            raise InputError(f"{self.name} cannot be built: {located(error)}") from error
        if not isinstance(model, nn.Module):
            raise InputError(f"{self.name} returned {type(model).__name__}, not an nn.Module")
        return model

    def call(self, *positional: object, **arguments: object) -> Any:
        """Return what the factory makes."""
        with folders.importable(self.folder) if self.folder else contextlib.nullcontext():
            return self.factory(*positional, **arguments)

    def make_empty(self, arguments: Mapping[str, object], device: str) -> nn.Module:
        """Return the network with weights that do not matter: on ``meta`` if its code can do without values."""
        if device == "meta":
            try:
                with torch.device("meta"), NoInitialisation():
                    return self.make(arguments)
            except InputError:
                pass  # its constructor reads values; counting makes a meta copy of the real network
        return self.make(arguments)

    def declared(self, arguments: Mapping[str, object]) -> Declared:
        """Return what the network says of its input: ``input_size``, ``default_cfg`` or ``pretrained_cfg``.

        They are looked for on the factory, then on the network itself. An ``input_size`` is a side, ``(height, width)``
        or ``(channels, height, width)``.

        Raises:
            InputError: if it cannot be built, or takes no single image.
        """
        if self.inputs:
            raise InputError(f"{self.name} takes {self.inputs}")
        declaration = Declared(self.resolution, self.channels, self.mean, self.std)
        if declaration.resolution is None:
            declaration = declared(self.factory) or declaration
        in_hand = ":" not in self.name
        if declaration.resolution is None and (self.folder is not None or in_hand):
            declaration = declared(self.make_empty(arguments, "meta")) or declaration
        return declaration

    def _parameters(self) -> list[inspect.Parameter]:
        try:
            return [*inspect.signature(self.factory).parameters.values()]
        except (TypeError, ValueError):
            return [inspect.Parameter("arguments", inspect.Parameter.VAR_KEYWORD)]

    def _takes_any(self) -> bool:
        return any(parameter.kind is parameter.VAR_KEYWORD for parameter in self._parameters())

    def _annotation(self, key: str) -> object:
        code = self.factory.__init__ if inspect.isclass(self.factory) else self.factory
        try:
            return typing.get_type_hints(code).get(key)
        except Exception:  # annotations may be any text
            return None


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
    folder = Path(source).parent if source.endswith(".py") else Path.cwd()
    module = _file(Path(source)) if source.endswith(".py") else _module(source, folder)
    factory = getattr(module, rest, None)
    if not callable(factory):
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise InputError(f"{source} has no factory {rest!r}{nearest(rest, public)}")
    return External(name, factory, folder=folder.resolve())


def state(name: str) -> Hashable:
    """Return what changes when the code of a network does; whatever is kept of its code is kept under it."""
    source, colon, _ = name.partition(":")
    folder = Path.cwd()
    if catalog.is_onnx(name):
        return folder, Path(name).stat().st_mtime_ns if Path(name).is_file() else 0
    if not colon or source in ("timm", "torchvision"):
        return folder
    if source.endswith(".py"):
        return folder, folders.state(Path(source).parent)
    return folder, folders.state(folder, source.partition(".")[0])


def _from_timm(name: str, rest: str) -> External:
    timm = _installed("timm", "python -m pip install 'scsc-lab[timm]'")
    architecture = rest.partition(".")[0]
    if not timm.is_model(architecture):
        raise InputError(f"timm has no architecture {rest!r}{nearest(architecture, timm.list_models())}")
    try:
        config = timm.get_pretrained_cfg(rest)
    except RuntimeError:
        names = ", ".join([architecture, *timm.list_pretrained(f"{architecture}.*")])
        raise InputError(f"timm has no {rest!r}, it has {names}") from None

    def create(**arguments: Any) -> nn.Module:
        model: nn.Module = timm.create_model(rest, **{"pretrained": False, **arguments})
        return model

    if config is None:
        return External(name, create)
    channels, height, width = config.input_size
    return External(name, create, (height, width), channels, tuple(config.mean), tuple(config.std))


def _from_torchvision(name: str, rest: str) -> External:
    models = _installed("torchvision.models", "python -m pip install torchvision")
    available = models.list_models()
    if rest not in available:
        raise InputError(f"torchvision has no network {rest!r}{nearest(rest, available)}")

    builder = models.get_model_builder(rest)
    inputs = next((kind for folder, kind in _NOT_OF_IMAGES.items() if f".{folder}." in builder.__module__), "")
    weights = {"weights", "weights_backbone"} & inspect.signature(builder).parameters.keys()

    def create(**arguments: Any) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # about defaults of initial weights
            model: nn.Module = models.get_model(rest, **{**dict.fromkeys(weights), **arguments})
        return model

    with contextlib.suppress(Exception):  # weights without these words say nothing of the input
        keywords = models.get_model_weights(rest).DEFAULT.transforms.keywords
        side = int(keywords.get("crop_size", keywords.get("resize_size")))  # segmentation is not cropped
        crop = side / keywords.get("resize_size", 256), getattr(keywords.get("interpolation"), "value", "bilinear")
        return External(name, create, (side, side), 3, crop=crop, inputs=inputs)
    return External(name, create, inputs=inputs)


_NOT_OF_IMAGES = {
    "video": "clips of frames: give --input 1x3x16x112x112, N×C×T×H×W",
    "optical_flow": "two images: give --input 1x3x224x224 twice",
}
"""Folders of torchvision's models that take something else than one image, and what to do."""


def _installed(name: str, command: str) -> Any:
    package = name.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        raise InputError(f"{package} is not installed: {command}")
    try:
        return importlib.import_module(name)
    except Exception as error:  # an installed but broken package may raise anything
        raise InputError(f"{package} is installed but does not import: {located(error)}") from error


def _file(path: Path) -> ModuleType:
    """Run a file as a module, with its folder importable, as ``python FILE`` would."""
    if not path.is_file():
        raise InputError(f"no file {str(path)!r}")
    try:
        with ending.time_limit(str(path)):
            return folders.run(path)
    except ending.TimeLimitError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's own code raises
        raise InputError(f"{path} does not import: {located(error)}") from error


def _module(name: str, folder: Path) -> ModuleType:
    """Import a module; those in the working folder are found, as ``python -m`` has it."""
    try:
        with ending.time_limit(name):
            return folders.module(name, folder)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            file = f"{name.replace('.', '/')}.py"
            raise InputError(f"no module {name!r}; write a file with its suffix, e.g. {file}:make_model") from None
        raise InputError(f"{name} does not import: {located(error)}") from error
    except ending.TimeLimitError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's own code raises
        raise InputError(f"{name} does not import: {located(error)}") from error
