"""Text on its way to a reader: one line, no character that a terminal or an editor obeys, code told from prose."""

from __future__ import annotations

import re

_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
"""Control characters, those that turn the direction of writing, and halves of characters."""

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
