"""Folders of users' code: each is a package of its own, so that two folders may have modules of one name.

The package is named after a digest of the folder's files and of what they import: what has changed is imported anew.
Code in it finds its neighbours by their plain names, as ``python FILE`` has it, at any time.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import hashlib
import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from scsc_lab.networks import source

_PREFIX = "scsc_lab_folder_"
_INSTALLED = ("site-packages", "dist-packages")


def state(folder: Path, top: str = "") -> str:
    """Return a digest that changes with a folder's files, with packages in it that they import, and with one more."""
    folder = folder.resolve()
    return hashlib.sha256(repr((folder, source.of_folder(folder, (top,)))).encode()).hexdigest()[:12]


def run(file: Path) -> ModuleType:
    """Return a file as a module; its code runs if it, or something in its folder, is new."""
    folder = file.parent.resolve()
    package, path = _package(folder), folder / file.name
    name = f"{package}.{file.stem.replace('.', '_')}"
    if name not in sys.modules:
        spec = spec_from_file_location(name, path, loader=_Loader(name, str(path)))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module_from_spec(spec)
        try:
            with importable(folder):
                spec.loader.exec_module(sys.modules[name])
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def module(name: str, folder: Path) -> ModuleType:
    """Import a module of a folder, or else of the installation."""
    package = _package(folder.resolve(), name.partition(".")[0])
    with importable(folder):
        _import(package, name)
    return sys.modules.get(f"{package}.{name}") or sys.modules[name]


def plain_name(name: str) -> str:
    """Return the name of a module as its own folder knows it."""
    return name.partition(".")[2] if name.startswith(_PREFIX) else name


@contextlib.contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Let ``importlib`` and ``pickle`` find the modules of a folder; what they import is forgotten afterwards."""
    before, path = set(sys.modules), str(folder.resolve())
    sys.path.insert(0, path)
    try:
        yield
    finally:
        sys.path.remove(path)
        imported = [name for name in sys.modules.keys() - before if not name.startswith(_PREFIX)]
        for name in [name for name in imported if not _is_installed(name) and _location(name).is_relative_to(path)]:
            del sys.modules[name]


def _package(folder: Path, top: str = "") -> str:
    """Return the package of a folder as it is now."""
    name = f"{_PREFIX}{state(folder, top)}"
    if name not in sys.modules:
        importlib.invalidate_caches()
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        sys.modules[name] = module_from_spec(spec)
    return name


class _Loader(SourceFileLoader):
    """Runs a file of a folder, with an ``import`` that finds its neighbours first."""

    def exec_module(self, module: ModuleType) -> None:
        package = module.__name__.partition(".")[0]
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": functools.partial(_import, package)}
        super().exec_module(module)

    def get_code(self, fullname: str) -> CodeType:
        """Compile the file: bytecode that is kept tells files apart by second and size alone."""
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


class _Finder:
    """Finds the modules of folders, for :class:`_Loader`."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name.startswith(_PREFIX) else None
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(name, spec.loader.path)
        return spec


sys.meta_path.insert(0, _Finder)


def _import(
    package: str,
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] = (),
    level: int = 0,
) -> ModuleType:
    """Import as ``__import__`` does, the modules of a folder before all others."""
    top = name.partition(".")[0]
    if level or not _is_inside(sys.modules[package].__path__[0], top):
        return builtins.__import__(name, globals, locals, fromlist, level)
    try:
        module = builtins.__import__(f"{package}.{name}", globals, locals, fromlist, 0)
    except ModuleNotFoundError as error:
        missing = plain_name(error.name or "")
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing).with_traceback(
            error.__traceback__
        ) from None
    return module if fromlist else sys.modules[f"{package}.{top}"]


def _is_inside(folder: str, top: str) -> bool:
    """Return whether a top-level module is a folder's own: one that is installed and imported is not."""
    if top in sys.modules and _is_installed(top):
        return False
    path = Path(folder) / top
    if path.with_name(f"{top}.py").is_file() or (path / "__init__.py").is_file():
        return True
    return path.is_dir() and PathFinder.find_spec(top) is None and any(path.rglob("*.py"))


def _is_installed(name: str) -> bool:
    """Return whether an imported module is Python's, an installed package's, this package's or the program's."""
    top = name.partition(".")[0]
    is_known = top in sys.stdlib_module_names or top in ("scsc_lab", "__main__")
    return is_known or _location(name) == Path() or any(part in _INSTALLED for part in _location(name).parts)


def _location(name: str) -> Path:
    """Return the file of an imported module, or the folder of one without a file; an empty path if it has neither."""
    module = sys.modules[name]
    return Path(getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), ""))
