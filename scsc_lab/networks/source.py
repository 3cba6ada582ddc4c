"""Digests of what decides a network's numbers beside its own text: files of weights, code and what that imports."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path

from scsc_lab.errors import InputError
from scsc_lab.networks import catalog

_IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+(\w+)|import[ \t]+(\w[\w., \t]*))", re.MULTILINE)


def digest(path: Path) -> str:
    """Return a digest of a file's content.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        status = path.stat()
        return _read(path.resolve(), status.st_size, status.st_mtime_ns)[0]
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise InputError(f"no file {str(path)!r}" if missing else f"cannot read {path}: {error.strerror}") from None


def of_network(name: str) -> object:
    """Return what the code of a network from elsewhere is: digests of its file, its neighbours and what they import.

    Raises:
        InputError: if its file cannot be read.
    """
    if catalog.is_onnx(name):
        return digest(Path(name))
    origin, colon, _ = name.partition(":")
    if not colon or origin == "timm":  # of this package, or among the versions
        return origin
    if origin == "torchvision":
        return [origin, importlib.metadata.version(origin) if importlib.util.find_spec(origin) else ""]
    if origin.endswith(".py"):
        path = Path(origin)
        return [digest(path), *of_folder(path.resolve().parent)]
    top = origin.partition(".")[0]
    folder = Path.cwd()
    if not (folder / f"{top}.py").is_file() and not (folder / top).is_dir():
        spec = importlib.util.find_spec(top)  # which imports nothing
        if spec is None or spec.origin is None:
            return origin
        file = Path(spec.origin)
        if file.name != "__init__.py":
            return [origin, digest(file)]
        package = file.parent
        return [origin, *((str(file.relative_to(package.parent)), digest(file)) for file in _files(package, "**/*.py"))]
    return [origin, *of_folder(folder, (top,))]


def of_folder(folder: Path, names: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Return digests of the Python files of a folder, and of the packages in it that are named or imported."""
    digests: dict[Path, str] = {}
    waiting, packages = _files(folder, "*.py"), set(names)
    while waiting or packages:
        for file in waiting:
            digests[file] = ""
            with contextlib.suppress(OSError):  # it is not for us to read
                status = file.stat()
                digests[file], imported = _read(file.resolve(), status.st_size, status.st_mtime_ns)
                packages |= imported
        waiting = [file for name in packages if name for file in _files(folder / name, "**/*.py")]
        waiting, packages = [file for file in waiting if file not in digests], set()
    return sorted((str(file.relative_to(folder)), content) for file, content in digests.items())


def _files(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a folder that a pattern matches; an editor's lock among them is a link to nowhere."""
    return sorted(file for file in folder.glob(pattern) if file.is_file())


@functools.lru_cache(maxsize=4096)
def _read(path: Path, size: int, changed_ns: int) -> tuple[str, frozenset[str]]:
    """Return a digest of a file, and the top-level names that it imports if it is Python's."""
    content = path.read_bytes()
    names: set[str] = set()
    if path.suffix == ".py":
        for first, modules in _IMPORT.findall(content.decode(errors="replace")):
            names |= {name.strip().partition(".")[0].partition(" ")[0] for name in (first or modules).split(",")}
    return hashlib.sha256(content).hexdigest()[:16], frozenset(names)
