"""The current folder is where the user's files are, never where code comes from."""

from __future__ import annotations

import os
import sys


def is_current_folder(entry: str) -> bool:
    """Whether an entry of ``sys.path`` is the current folder, without the user having named that in PYTHONPATH."""
    try:
        here = os.path.realpath(os.getcwd())
    except FileNotFoundError:  # it was deleted under us
        return not entry
    if os.path.realpath(entry) != here:
        return False
    named = [] if sys.flags.ignore_environment else os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return not any(one and os.path.realpath(one) == here for one in named)


def leave_current_folder() -> None:
    """Take off this process's path the entries that put the current folder before what is installed.

    ``python -m`` and an empty entry in PYTHONPATH do. One that an editable install has added stays: it is installed.
    """
    given = 1 + len([] if sys.flags.ignore_environment else os.environ.get("PYTHONPATH", "").split(os.pathsep))
    first, rest = sys.path[:given], sys.path[given:]
    sys.path[:] = [entry for entry in first if not is_current_folder(entry)] + [entry for entry in rest if entry]
