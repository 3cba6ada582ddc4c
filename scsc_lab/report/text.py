"""Text on its way to a reader: one line, no character that a terminal or an editor obeys, code told from prose."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
"""Control characters, those that turn the direction of writing, and halves of characters."""

MOST_NAMES = 4
"""Names that a sentence lists; of more it counts the others."""

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
