"""An append-only file of JSON lines, each with its own check sum: what a kill cut short is dropped, damage is named."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from typing import IO, Any
from zlib import crc32

from autocompress.basics.disk import told_when_full
from autocompress.errors import RunError

logger = logging.getLogger(__name__)
SUM = "sum"


def seal(record: Mapping[str, Any]) -> bytes:
    """One line with its check sum.

    >>> seal({"key": "a", "value": 1})
    b'{"key":"a","value":1,"sum":"c5de13dc"}\\n'
    """
    text = json.dumps(record, separators=(",", ":"))
    return f'{text[:-1]},"{SUM}":"{crc32(text.encode()):08x}"}}\n'.encode()


def unseal(line: bytes) -> dict[str, Any]:
    """The record in a line. Raises ValueError, with the reason, for anything that `seal` did not write."""
    try:
        record = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deep") from None
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    if not isinstance(record, dict) or SUM not in record:
        raise ValueError("no check sum")
    del record[SUM]
    if seal(record).rstrip() != line.rstrip():
        raise ValueError("its check sum does not fit")
    return record


def read_lines(path: Path, *, kept: str) -> list[dict[str, Any]]:
    """Every record of a file that is there; a last line without a newline is cut off and told.

    kept   what is still there when the user deletes what is damaged. Raises RunError naming file and line.
    """
    found = []
    for number, line in enumerate(mend_tail(path).split(b"\n")[:-1], 1):
        try:
            found.append(unseal(line))
        except ValueError as error:
            raise RunError(
                f"{path}, line {number} is damaged ({error}); delete that line or the file: {kept}."
            ) from error
    return found


def append_lines(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write records; they are on the disk when this returns. Raises DiskFullError, with the file as it was."""
    with told_when_full(path), open_plain(path, os.O_RDWR | os.O_CREAT) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _append_whole(file.raw, b"".join(map(seal, records)))  # type: ignore[attr-defined]  # a buffered file has one


def mend_tail(path: Path) -> bytes:
    """Cut a last line that does not end in a newline; what is left."""
    if not path.exists():
        return b""
    with open_plain(path, os.O_RDWR) as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # another process may be in the middle of a line
        data = file.read()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            logger.warning("%s: dropped a last line that was cut short (%d bytes)", path, len(data) - end)
            file.truncate(end)
    return data[:end]


@contextmanager
def open_plain(path: Path, flags: int) -> Iterator[IO[bytes]]:
    """A file of a run folder. Raises RunError when a link, a pipe, a folder or a device lies in its place."""
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if os.path.islink(path) or os.path.isdir(path):
            raise _strange(path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _strange(path)
    with os.fdopen(descriptor, "r+b") as file:
        yield file


def _strange(path: Path) -> RunError:
    return RunError(f"{str(path)!r} is no plain file: expected a file that a search wrote; remove it.")


def _append_whole(file: RawIOBase, lines: bytes) -> None:
    """Append and flush to the disk, or leave the file as it was."""
    end = file.seek(0, os.SEEK_END)
    try:
        rest = memoryview(lines)
        while rest:
            rest = rest[file.write(rest) or 0 :]
        os.fsync(file.fileno())
    except OSError:
        file.truncate(end)
        raise
