"""Files are written whole or not at all, and what cannot be written is known before."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from scsc_lab import InputError
from scsc_lab.files import check_writable, write


def test_links_pipes_and_devices_stay_what_they_are(tmp_path):
    target, link, pipe = tmp_path / "target.csv", tmp_path / "link.csv", tmp_path / "pipe.csv"
    target.write_text("old")
    link.symlink_to(target)
    write(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    read: list[str] = []
    reader.start()
    write(pipe, "through")
    reader.join(10)
    assert read == ["through"]
    assert pipe.is_fifo()


def test_a_file_is_replaced_whole_or_not_at_all_and_keeps_its_mode(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    os.umask(umask := os.umask(0))
    write(path, "old")
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    path.chmod(0o640)
    write(path, "new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o640)

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(InputError, match=r"cannot write .*: No space left on device"):
        write(path, "newer")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "it is a folder; name a file"),
        ("file.csv/x.csv", "Not a directory"),
        ("/proc/nowhere/x.csv", "No such file or directory"),
        ("n" * 300, "File name too long"),
        ("/dev/fd/999", "Bad file descriptor"),
        ("a\0b", "embedded null"),
    ],
)
def test_what_cannot_be_written_is_known_before(tmp_path, name, reason):
    (tmp_path / "file.csv").write_text("")
    for attempt in (check_writable, lambda path: write(path, "text")):
        with pytest.raises(InputError, match=f"^cannot write .*{reason}"):
            attempt(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="has no users")
def test_permission_is_asked_before(tmp_path):
    folder, file = tmp_path / "folder", tmp_path / "file.csv"
    folder.mkdir()
    file.write_text("")
    file.chmod(0o444)
    folder.chmod(0o555)
    child = f"""
import os, sys
from pathlib import Path
from scsc_lab.errors import InputError
from scsc_lab.files import check_writable
if os.geteuid() == 0:
    os.setuid(65534)
for path in {[str(folder / "new.csv"), str(folder / "deeper" / "new.csv"), str(file)]}:
    try:
        check_writable(Path(path))
    except InputError as error:
        print(error)
"""
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o111)
    tmp_path.chmod(0o755)
    result = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) == 3


def test_asking_leaves_nothing_behind(tmp_path):
    check_writable(tmp_path / "deep" / "er" / "x.csv")
    check_writable(tmp_path / "x.csv")
    assert list(tmp_path.iterdir()) == []


def test_standard_output_by_name_is_written_as_it_is(tmp_path):
    child = "from pathlib import Path; from scsc_lab.files import *; p = Path('/dev/stdout'); print('first')\n"
    child += "check_writable(p); write(p, 'second\\n'); print('third')"
    with (tmp_path / "out").open("w") as file:
        subprocess.run([sys.executable, "-c", child], stdout=file, check=True)
    piped = subprocess.run([sys.executable, "-c", child], stdout=subprocess.PIPE, text=True, check=True)
    assert (tmp_path / "out").read_text() == piped.stdout == "first\nsecond\nthird\n"


def test_a_full_device_is_one_line():
    with pytest.raises(InputError, match=r"^cannot write /dev/full: No space left on device$"):
        write(Path("/dev/full"), "text")
