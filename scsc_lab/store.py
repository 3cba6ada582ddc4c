"""Files written whole or not at all, and rows kept as they are measured, by as many processes as like to."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from scsc_lab.errors import InputError
from scsc_lab.records import Row

_DESCRIPTOR = re.compile(r"/(?:dev|proc/(?:self|thread-self|\d+))/fd/(\d+)")
_MOST_LINKS = 40
_KEY = b'{"key": "'
"""How a line of a store begins. A last line that does not end and does not begin so is somebody else's."""


def check_writable(path: Path) -> None:
    """Raise InputError if a file cannot be written; to be asked before anything is measured.

    Nothing is left behind: neither the file nor its folder is created. That a disk is full is not found out.
    """
    with _refused(path):
        if path.is_dir():
            raise InputError(f"cannot write {path}: it is a folder; name a file")
        if (descriptor := _descriptor(path)) is not None:
            os.fstat(descriptor)
            return
        target = Path(os.path.realpath(path))
        if _exists(target):
            if not os.access(target, os.W_OK):
                raise PermissionError(0, "it is read-only")
            if _in_place(target):
                return
        folder = next(folder for folder in target.parents if _exists(folder))
        with tempfile.TemporaryFile(dir=folder):
            pass


def write(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all; its folder is created, an existing file replaced by one of the same mode.

    Behind a link it is the file linked to that is replaced; a device, a pipe or a descriptor (``/dev/stdout``) is
    written to as it is.

    Raises:
        InputError: if it cannot be written there.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    with _refused(path):
        if path.is_dir():
            raise InputError(f"cannot write {path}: it is a folder; name a file")
        if (descriptor := _descriptor(path)) is not None:
            if sys.stdout is not None and not sys.stdout.closed:
                sys.stdout.flush()  # what was printed before comes before
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(data)
            return
        target = Path(os.path.realpath(path))
        there = _exists(target)
        if there and _in_place(target):
            target.write_bytes(data)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = stat.S_IMODE(target.stat().st_mode) if there else 0o666 & ~_umask()
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".scsc-lab-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(temporary, mode)
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise


class RowStore:
    """Rows in a JSON-lines file that any number of processes may read and add to, each killed at any time.

    What is added at once is added with one write at the end of the file, under a lock, so that a kill costs at most
    that. A last line that a kill has torn is left out, and cut off by the next process that adds a row, with the rows
    before it that it belongs to: rows of one ``key`` that say under ``of`` how many they are. Opening a store changes
    nothing.

    Args:
        path: the file; created, with its folder, when the first row is added.

    Attributes:
        rows: the rows, in the file's order, those of other processes included as far as they have been read.
        repaired: whether a torn last line was found.

    Raises:
        InputError: if it is no plain file or cannot be read, or a line is no row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        self.repaired = False
        self._by_key: dict[str, list[Row]] = {}
        self._file: tuple[int, int] | None = None  # which file it is that rows are of
        self._starts: list[int] = []  # where each of them begins, in bytes
        self._read = 0  # where the last of them ends
        self._ended = True  # whether the last of them is a newline
        self._tail = b""  # the last line, which tells whether what was read is still there
        self.refresh()

    def refresh(self) -> None:
        """Read the rows that other processes have added since.

        Raises:
            InputError: as for opening.
        """
        self._require_plain()
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return
        except OSError as error:
            self._fail("read", error)
        try:
            with contextlib.ExitStack() as held:
                with contextlib.suppress(OSError):  # what cannot be locked, read-only media say, can be read
                    held.enter_context(_locked(descriptor, shared=True))
                self._take(descriptor)
        except OSError as error:
            self._fail("read", error)
        finally:
            os.close(descriptor)

    def find(self, key: str) -> list[Row]:
        """Return the rows of a key, as far as they have been read; none if some of them are missing."""
        found = self._by_key.get(key, [])
        return list(found) if found and len(found) >= _number(found[0]) else []

    def leave_out(self, lost: Callable[[Row], bool]) -> None:
        """Leave rows out of :attr:`rows`, as if they were not there; the file keeps them."""
        for index in reversed(range(len(self.rows))):
            if lost(self.rows[index]):
                self._let_go(self.rows[index])
                del self.rows[index], self._starts[index]

    def append(self, row: Row) -> None:
        """Add one row to the file, durably, and to :attr:`rows`.

        Raises:
            InputError: if it cannot be written, or the file has become no store.
        """
        self._add([row], once=False)

    def keep(self, rows: Sequence[Row]) -> list[Row]:
        """Add the rows of one ``key`` unless it is there, and return those that are: of two processes, the first's.

        Raises:
            InputError: as for :meth:`append`.
        """
        return self._add(rows, once=True)

    def _add(self, rows: Sequence[Row], *, once: bool) -> list[Row]:
        self._require_plain()
        lines = [_line(row) for row in rows]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        except OSError as error:
            self._fail("write", error)
        try:
            with _locked(descriptor):
                torn = self._take(descriptor)
                if torn or self._unfinished():
                    self._forget(self._unfinished())
                    os.ftruncate(descriptor, self._read)
                if once and (there := self.find(rows[0]["key"])):
                    return there
                data = (b"" if self._ended else b"\n") + b"".join(lines)
                if os.write(descriptor, data) != len(data):
                    raise OSError(0, "the disk is full")  # the torn line is cut off by whoever writes next
                os.fsync(descriptor)
                self._read, self._ended = self._read + len(data) - sum(map(len, lines)), True
        except OSError as error:
            self._fail("write", error)
        finally:
            os.close(descriptor)
        for line in lines:
            self._know(json.loads(line), line)
        return self.rows[-len(lines) :]

    def _know(self, row: Row, line: bytes) -> None:
        self.rows.append(row)
        if "key" in row:
            self._by_key.setdefault(row["key"], []).append(row)
        self._starts.append(self._read)
        self._read, self._tail = self._read + len(line), line

    def _let_go(self, row: Row) -> None:
        if "key" in row:
            self._by_key[row["key"]] = [other for other in self._by_key[row["key"]] if other is not row]

    def _unfinished(self) -> int:
        """Return how many rows at the end are of a key that wants more: their writer has been killed."""
        wanted = _number(self.rows[-1]) if self.rows else 1
        last = self.rows[-wanted:]
        if len(last) == wanted and all(row.get("key") == last[-1].get("key") for row in last):
            return 0
        return len([*itertools.takewhile(lambda row: row.get("key") == last[-1].get("key"), reversed(last))])

    def _forget(self, number: int) -> None:
        if number:
            self._read, self._ended, self._tail = self._starts[-number], True, b""
            for row in self.rows[-number:]:
                self._let_go(row)
            del self.rows[-number:], self._starts[-number:]

    def _take(self, descriptor: int) -> bool:
        """Read on from where the last reading ended; return whether a torn line is left at the end."""
        status = os.fstat(descriptor)
        same = self._file == (status.st_dev, status.st_ino) and status.st_size >= self._read
        with os.fdopen(os.dup(descriptor), "rb") as file:
            file.seek(self._read - len(self._tail) if same else 0)
            content = file.read()
            if not same or not content.startswith(self._tail):
                self.rows.clear()  # another file has taken its place, or rows that were read have been cut off since
                self._by_key.clear()
                self._starts.clear()
                self._file, self._read, self._ended, self._tail = (status.st_dev, status.st_ino), 0, True, b""
                file.seek(0)
                content = file.read()
        content = content[len(self._tail) :]
        if content and not self._ended:
            if not content.startswith(b"\n"):
                self._refuse(len(self.rows))
            content, self._read, self._ended, self._tail = content[1:], self._read + 1, True, self._tail + b"\n"
        *lines, last = content.split(b"\n")
        for line in lines:
            if (row := _row(line)) is None:
                self._refuse(len(self.rows) + 1)
            self._know(row, line + b"\n")
        if not last:
            return False
        if (row := _row(last)) is not None:
            self._know(row, last)
            self._ended = False
            return False
        ours = _KEY.startswith(last[: len(_KEY)])
        if not (ours or (last.startswith(b"{") and any("key" in row for row in self.rows))):
            self._refuse(len(self.rows) + 1)
        self.repaired = True
        return True

    def _require_plain(self) -> None:
        """Raise InputError for a device, a pipe or a folder: they have no end, or no rows."""
        try:
            plain = not self.path.exists() or self.path.is_file()
        except (OSError, ValueError) as error:
            self._fail("read", error)
        if not plain:
            what = "folder" if self.path.is_dir() else "device or pipe"
            raise InputError(f"cannot keep rows in {self.path}: it is a {what}; name a file")

    def _fail(self, what: str, error: OSError | ValueError) -> NoReturn:
        raise InputError(f"cannot {what} {self.path}: {_reason(error)}") from None

    def _refuse(self, number: int) -> NoReturn:
        raise InputError(f"{self.path} is no store of rows: line {number} is not a JSON object with a text as its key")


def as_lines(rows: Iterable[Row]) -> str:
    """Return rows as JSON lines; the same rows give the same text."""
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False, sort_keys=True) + "\n" for row in rows)


def _number(row: Row) -> int:
    """Return how many rows of its key there are, as a row says."""
    wanted = row.get("of")
    return wanted if isinstance(wanted, int) and wanted > 1 else 1


def _line(row: Row) -> bytes:
    ordered = {"key": row["key"], **row} if "key" in row else row
    return json.dumps(ordered, ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass") + b"\n"


def _row(line: bytes) -> Row | None:
    """Return the row of a line, or ``None`` if it is none."""
    try:
        row = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and isinstance(row.get("key", ""), str) else None


def _no_number(word: str) -> NoReturn:
    raise ValueError(word)


@contextlib.contextmanager
def _locked(descriptor: int, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock on an open file; it ends with the process, however that ends."""
    if sys.platform == "win32":
        import msvcrt

        beyond = 2**40  # bytes that nobody writes: locked ones could not be read
        os.lseek(descriptor, beyond, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
        try:
            yield
        finally:
            os.lseek(descriptor, beyond, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield  # closing the file ends it


@contextlib.contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Turn what the system says against writing a file into an InputError of one line."""
    try:
        yield
    except (InputError, BrokenPipeError):
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write {path}: {_reason(error)}") from None


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _exists(path: Path) -> bool:
    """Return whether there is something; unlike ``Path.exists``, an error of the system stays one."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True


def _in_place(target: Path) -> bool:
    """Return whether an existing file is written to rather than replaced: it is no plain file, or cannot be renamed."""
    return not target.is_file() or os.path.ismount(target) or not os.access(target.parent, os.W_OK)


def _descriptor(path: Path) -> int | None:
    """Return the open descriptor that a path such as ``/dev/stdout`` stands for, if it does."""
    for _ in range(_MOST_LINKS):
        if match := _DESCRIPTOR.fullmatch(os.path.abspath(path)):
            return int(match[1])
        if not path.is_symlink():
            return None
        path = path.parent / os.readlink(path)
    return None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
