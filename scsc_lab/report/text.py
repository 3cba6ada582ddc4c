"""Text on its way to a reader: one line, no character that a terminal or an editor obeys, code told from prose."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence

_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
"""Control characters, those that turn the direction of writing, and halves of characters."""

MOST_NAMES = 4
"""Names that a sentence lists; of more it counts the others."""

LONGEST = 40
"""Characters of a network's name that a figure has room for."""

_FOLDERS = re.compile(r"(?:[^\s'\"/]*/)+(?=[^\s'\"/]+\.(?:py|onnx)\b)")
_CODE = re.compile(r"`([^`]+)`")


def visible(text: str) -> str:
    r"""Return text in which characters that would be obeyed, not shown, are written out: ESC is ``\x1b``."""
    return _OBEYED.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """Return text as one line: white space of any kind is a space, what would be obeyed is written out."""
    return visible(" ".join(text.split()))


def spans(prose: str) -> list[tuple[str, bool]]:
    """Return the pieces of a note or a paragraph, each with whether it is code.

    What stands between two backticks is code; there is no other mark-up. A backtick without a partner is a character.
    """
    pieces = _CODE.split(one_line(prose))
    return [(piece, bool(index % 2)) for index, piece in enumerate(pieces) if piece]


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence lists them, each once; of many the first ones and how many more there are."""
    unique = list(dict.fromkeys(names))
    if len(unique) > MOST_NAMES:
        unique = [*unique[: MOST_NAMES - 1], f"{len(unique) - MOST_NAMES + 1} more"]
    *first, last = unique or [""]
    return f"{', '.join(first)} and {last}" if first else last


def without_folders(labels: Iterable[str]) -> dict[str, str]:
    """Return labels of networks without the folders of their files, by label; those that would be alike stay whole."""
    short = {label: _FOLDERS.sub("", label) for label in labels}
    times = Counter(short.values())
    return {label: name if times[name] == 1 else label for label, name in short.items()}


def shortened(text: object, longest: int = LONGEST) -> str:
    """Return a name as a figure has it: one line, its middle left out where it is too long."""
    line = one_line(str(text))
    return line if len(line) <= longest else f"{line[: (longest - 1) * 2 // 3]}…{line[-(longest - 1) // 3 :]}"


def shortened_apart(texts: Iterable[object], longest: int = LONGEST) -> dict[str, str]:
    """Return names as a figure has them, by the whole ones; cut ones that would read alike show where they differ."""
    lines = {str(text): one_line(str(text)) for text in texts}
    cut = {line: shortened(line, longest) for line in lines.values()}
    for text, number in Counter(cut.values()).items():
        alike = [line for line in cut if cut[line] == text]
        if number == 1:
            continue
        words = [re.split(r"(?<=[\[\], /])" if "=" in line else r"(?<=[\[\], /.])", line) for line in alike]
        start = _alike(words)
        end = min(_alike([line[::-1] for line in words]), min(map(len, words)) - start)
        parts = ["".join(line[start : len(line) - end]).strip(" []").rstrip(".") for line in words]
        short = [
            f"{line[: longest // 3]}…{shortened(part, longest * 2 // 3 - 2)}"
            for line, part in zip(alike, parts, strict=True)
        ]
        if len(set(short)) < number:
            short = [f"{shortened(line, longest - 5)} ({at})" for at, line in enumerate(alike, start=1)]
        cut.update(zip(alike, short, strict=True))
    return {text: cut[line] for text, line in lines.items()}


def _alike(sequences: Sequence[Sequence[str]]) -> int:
    """Return how many first items sequences share."""
    return sum(1 for _ in itertools.takewhile(lambda items: len(set(items)) == 1, zip(*sequences, strict=False)))
