"""How a process of ours is started: this interpreter, our module, and nothing from the current folder on its path."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from autocompress.basics.current_folder import is_current_folder
from autocompress.core.target import Target
from autocompress.measure.machine import environment


def command(module: str) -> list[str]:
    """Run one of our modules. ``-P``: Python itself would put the current folder first on the path."""
    return [sys.executable, "-P", "-m", module]


def child_environment(target: Target) -> dict[str, str]:
    """What can be imported here can be imported there, but for what is found in the current folder only.

    A folder that the user named in PYTHONPATH stays, wherever it is; so does whatever else is on the path.
    """
    path = os.pathsep.join(entry for entry in sys.path if entry and not is_current_folder(entry))
    return {**os.environ, **environment(target), "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


def user_modules() -> dict[str, Any]:
    """What a module that was passed in from Python may need from the current folder.

    folder   the script's own folder, if it is the current one: its author imports from it.
    loaded   otherwise what this process has imported from here: top-level names, with the folder.
    """
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    script = None if main is None or sys.flags.safe_path else os.path.dirname(os.path.abspath(main))
    if script is not None and is_current_folder(script) and getattr(sys.modules["__main__"], "__spec__", None) is None:
        return {"folder": script, "loaded": {}}
    loaded = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if "." in name or name == "__main__" or not file:
            continue
        folder = Path(file).parent.parent if Path(file).stem == "__init__" else Path(file).parent
        if is_current_folder(str(folder)):
            loaded[name] = str(folder)
    return {"folder": None, "loaded": loaded}


def accept(modules: Mapping[str, Any]) -> None:
    """Let this process import what `user_modules` said, after everything that is installed: it can hide nothing."""
    if modules["folder"]:
        sys.path.append(modules["folder"])
    if modules["loaded"]:
        sys.meta_path.append(_Loaded(modules["loaded"]))


class _Loaded:
    """Finds a few top-level modules, each in its folder, and no other."""

    def __init__(self, folders: Mapping[str, str]) -> None:
        self._folders = folders

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        folder = self._folders.get(fullname)
        return None if folder is None else PathFinder.find_spec(fullname, [folder], target)
