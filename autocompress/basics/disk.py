"""A full disk, told as one line wherever it is found out: nothing is half-written, and the same command goes on."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autocompress.errors import DiskFullError

CODES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No space left, a quota that is used up, a file beyond the size that this process may write."""


@contextmanager
def told_when_full(path: str | Path) -> Iterator[None]:
    """Whatever a full disk raises inside the block becomes a `DiskFullError` that names ``path``."""
    try:
        yield
    except Exception as error:
        raise_when_full(error, path)
        raise


def raise_when_full(error: BaseException, path: str | Path) -> None:
    """Raise `DiskFullError` when ``error`` says that there is no room for ``path``; return otherwise."""
    code = full(error)
    if code and not isinstance(error, DiskFullError):
        raise DiskFullError(
            f"disk full: cannot write {str(path)!r} ({os.strerror(code)}); nothing is half-written. Make room, then "
            "run the same command again: it goes on from what was kept."
        ) from error


def full(error: BaseException) -> int:
    """The system's code when an error, or what caused it, says that a disk is full; else 0."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in CODES:
            return int(seen.errno)
        for code in CODES:
            # Libraries in Rust (safetensors, tokenizers) give the code in words only.
            if f"(os error {code})" in str(seen):
                return code
        seen = seen.__cause__
    return 0
