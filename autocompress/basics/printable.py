"""Text from a file, a path or a plugin, made safe to print: nothing in it moves the cursor or hides what it says."""

from __future__ import annotations

import re

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
"""Control characters but tab and newline, marks that turn the direction of text or take no room, half characters."""


def printable(text: str) -> str:
    r"""The text with every unsafe character written out.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
