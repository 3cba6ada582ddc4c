"""Folders of users' code: each importable while code of it runs, none seeing another's modules.

Two folders may have modules of one name. Only one folder's are in ``sys.modules`` at a time; those of the others wait.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib.util
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

_INSTALLED = ("site-packages", "dist-packages")


class Folder:
    """A folder whose modules its own code can import, as ``python FILE`` has it.

    Args:
        path: the folder, absolute.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting: dict[str, ModuleType] = {}  # its modules, while another folder's are imported
        self._before: set[str] = set()  # what was imported before it was entered, and is not its own
        self._states: dict[str, tuple[int, int]] = {}  # time and size of the modules' files, when last looked at
        self._looked = 0
        self._version = 0

    @classmethod
    def of(cls, path: Path) -> Folder:
        """Return the folder at a path: always the same."""
        return _folder(path.resolve())

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Let code of this folder run: its modules come first among all that can be imported."""
        self.enter()
        sys.path.insert(0, str(self.path))
        try:
            yield
        finally:
            sys.path.remove(str(self.path))

    def enter(self) -> None:
        """Let code of this folder import its own modules from now on, behind all that is installed."""
        if _entered and _entered[-1] is self:
            return
        if _entered:
            _entered.pop()._leave()
        names = self._names()
        for name, module in [*sys.modules.items()]:
            if name.partition(".")[0] in names and not _installed(module):
                del sys.modules[name]  # of the same name, from elsewhere; whoever has imported it keeps it
        self._before = set(sys.modules)
        sys.modules.update(self._waiting)
        sys.path.append(str(self.path))
        _entered.append(self)

    def _leave(self) -> None:
        self._waiting = {name: module for name, module in [*sys.modules.items()] if self._owns(name, module)}
        for name in self._waiting:
            del sys.modules[name]
        if str(self.path) in sys.path:
            sys.path.remove(str(self.path))

    def run(self, file: Path) -> ModuleType:
        """Run a file of this folder as a module, which stays importable under a name of its own."""
        digest = hashlib.sha256(bytes(file.resolve())).hexdigest()[:8]
        spec = importlib.util.spec_from_file_location(f"_scsc_lab_{file.stem}_{digest}", file.resolve())
        if spec is None or spec.loader is None:
            raise ImportError(f"{file} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        with self.running():
            spec.loader.exec_module(module)
        return module

    def version(self) -> int:
        """Return a number that rises when a module of the folder has changed since it was imported.

        All of the folder's modules are forgotten then, since any of them may hold what another one was: whoever imports
        them next gets what the files hold now.
        """
        imported = sys.modules if _entered and _entered[-1] is self else self._waiting
        own = {name: module for name, module in [*imported.items()] if self._owns(name, module)}
        since, self._looked = self._looked - _CLOCK_TICK_NS, time.time_ns()
        states = {str(module.__file__): _state(str(module.__file__)) for module in own.values()}
        if any(now != self._states.get(file, now if now[0] < since else None) for file, now in states.items()):
            self._version += 1
            states = {}
            for name, module in own.items():
                del imported[name]
                with contextlib.suppress(OSError, TypeError):  # Python itself tells files apart by second and size
                    Path(module.__cached__).unlink()
        self._states = states
        return self._version

    def imports_late(self, module: ModuleType) -> bool:
        """Return whether a function of a module, or of one of the folder's, imports when it is called."""
        own = [one for name, one in [*sys.modules.items()] if self._owns(name, one)]
        return any(_imports_late(one) for one in (module, *own))

    def _names(self) -> set[str]:
        """Return the names of the modules and packages that lie in this folder."""
        with contextlib.suppress(OSError):
            files = {file.stem for file in self.path.glob("*.py")}
            return files | {file.parent.name for file in self.path.glob("*/__init__.py")}
        return set()

    def _owns(self, name: str, module: ModuleType) -> bool:
        file = getattr(module, "__file__", None)
        return (
            file is not None
            and name not in self._before
            and not name.startswith("_scsc_lab_")
            and not _installed(module)
            and Path(file).resolve().is_relative_to(self.path)
        )


def _state(file: str) -> tuple[int, int]:
    try:
        found = Path(file).stat()
    except OSError:  # it is gone
        return 0, -1
    return found.st_mtime_ns, found.st_size


_CLOCK_TICK_NS = 20_000_000
"""How far a file's time may lag behind the clock, in nanoseconds."""

_entered: list[Folder] = []
"""The folder whose modules are imported now, if there is one."""


@functools.cache
def _folder(path: Path) -> Folder:
    return Folder(path)


def _installed(module: ModuleType) -> bool:
    """Return whether a module is Python's, an installed package's, this package's or the program's."""
    top = str(getattr(module, "__name__", "")).partition(".")[0]
    if top in sys.stdlib_module_names or top in ("scsc_lab", "__main__"):
        return True
    file = getattr(module, "__file__", None)
    return file is None or any(part in _INSTALLED for part in Path(file).parts)


def _imports_late(module: ModuleType) -> bool:
    try:
        tree = ast.parse(Path(str(module.__file__)).read_text())
    except (OSError, ValueError, SyntaxError):
        return False
    functions = (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return any(isinstance(inner, (ast.Import, ast.ImportFrom)) for node in functions for inner in ast.walk(node))
