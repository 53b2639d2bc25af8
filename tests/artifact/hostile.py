"""Artifacts as an attacker would make them: every file and every hash in order, but for what is changed on purpose."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autocompress.artifact.manifest import MANIFEST, _render, hash_files


def sign(folder: Path, **changes: Any) -> None:
    """List whatever is in the folder now, with its hashes; ``changes`` replace fields of the manifest."""
    data = json.loads((folder / MANIFEST).read_text())
    data.pop("digest", None)
    data = {**data, "files": hash_files(folder), **changes}
    (folder / MANIFEST).write_text(_render(data))


def edit(folder: Path, name: str, change: Callable[[Any], Any]) -> None:
    """Change a JSON file in place, or replace it by what ``change`` returns, and sign again."""
    path = folder / name
    data = json.loads(path.read_text())
    found = change(data)
    path.write_text(json.dumps(data if found is None else found))
    sign(folder)
