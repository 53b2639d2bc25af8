"""A file that somebody gave us, read whole: a plain file of a sane size, or one clear line."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from autocompress.errors import UsageError

MIB = 1 << 20
LARGEST = 64 * MIB
"""Bytes of a text file of settings, policies or manifests. The largest that this project writes are below 10 MiB."""


def read_whole(path: Path, error: type[UsageError], *, expected: str, largest: int = LARGEST) -> bytes:
    """The bytes of a file. ``expected`` says what it should be, such as ``a policy file``.

    Raises ``error`` when it is missing, no plain file (a folder, a pipe, a device: reading one may never end), larger
    than ``largest`` bytes, or unreadable.
    """
    try:
        # Opening a pipe that nobody writes to waits for ever, so it is opened without waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise error(f"{str(path)!r} is {_kind(found.st_mode)}: expected {expected}; check the path.")
            if found.st_size > largest:
                raise error(_too_large(path, found.st_size, expected, largest))
            # It may grow while it is read; what tells no size (/proc) is short.
            content = file.read(min(largest, found.st_size or MIB) + 1)
    except FileNotFoundError as missing:
        raise error(f"no file {str(path)!r}: expected {expected}; check the path.") from missing
    except (OSError, ValueError) as unreadable:  # ValueError: a null byte in the name
        reason = getattr(unreadable, "strerror", None) or str(unreadable)
        raise error(f"cannot read {str(path)!r} ({reason}): expected {expected}.") from unreadable
    if len(content) > largest:
        raise error(_too_large(path, len(content), expected, largest))
    return content


def read_text(path: Path, error: type[UsageError], *, expected: str, largest: int = LARGEST) -> str:
    """The text of a UTF-8 file, with or without a byte order mark. Raises ``error``, with the line of a bad byte."""
    content = read_whole(path, error, expected=expected, largest=largest)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as binary:
        line = content[: binary.start].count(b"\n") + 1
        raise error(
            f"{path}, line {line}: not UTF-8 text at byte {binary.start}: expected {expected}; save it as UTF-8."
        ) from binary


def _kind(mode: int) -> str:
    for test, kind in ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket")):
        if test(mode):
            return kind
    return "a device"


def _too_large(path: Path, size: int, expected: str, largest: int) -> str:
    return (
        f"{str(path)!r} has {max(size, largest + 1) / MIB:.0f} MiB: expected {expected} of at most "
        f"{largest / MIB:.0f} MiB; give a smaller file."
    )
