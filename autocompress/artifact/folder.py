"""The folder of an artifact: only plain files, only those that its manifest lists, none that would run as code."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from autocompress.errors import ArtifactError

MOST = 10_000
"""Files in an artifact, at most."""
CODE = (".py", ".pyc", ".so", ".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".npy", ".npz", ".msgpack", ".h5")
"""Suffixes of code, and of formats that can hold code: nothing that writes an artifact writes them."""
CODE_NAMES = ("pytorch_model", "training_args", "adapter_")
"""How names of files begin that Transformers would read pickles, or models from elsewhere, from."""


def check_folder(folder: Path, listed: Collection[str], manifest: str) -> None:
    """Compare what is in a folder with what its manifest lists.

    Raises ArtifactError for a name that leaves the folder, a file that is missing, not listed, or no plain file (a
    link, a pipe), and for one that holds code or may.
    """
    if len(listed) > MOST:
        raise ArtifactError(f"{str(folder)!r}: its manifest lists {len(listed)} files; expected at most {MOST}.")
    for name in listed:
        inside(folder, name)
        if _is_code(name):
            raise ArtifactError(
                f"{str(folder)!r} holds {name!r}, which can run code when it is loaded: an artifact holds only data "
                "(safetensors, JSON, text); do not use it."
            )
    strangers = []
    for path, mode in _entries(folder):
        name = path.relative_to(folder).as_posix()
        if not stat.S_ISREG(mode) and not (stat.S_ISLNK(mode) and _is_hub_blob(path, folder)):
            raise ArtifactError(
                f"{str(folder)!r}: {name!r} is {'a link' if stat.S_ISLNK(mode) else 'no plain file'}: expected files "
                "of its own; copy the artifact with its links followed (cp -rL)."
            )
        if name not in listed and name != manifest:
            strangers.append(name)
    if strangers:
        more = f" and {len(strangers) - 1} more" if len(strangers) > 1 else ""
        raise ArtifactError(
            f"{str(folder)!r} holds {min(strangers)!r}{more}, which its manifest does not list: expected only what was "
            "exported; remove it, or export the artifact again."
        )


def inside(folder: Path, name: str) -> Path:
    """The path of a file that a manifest names. Raises ArtifactError when it would lie outside the folder."""
    pure = PurePosixPath(name)
    strange = not name.isprintable() or any(mark in name for mark in "\\:\0")
    if not name or strange or pure.is_absolute() or ".." in pure.parts or str(pure) != name:
        raise ArtifactError(f"{str(folder)!r}: its manifest names the file {name!r}, which is outside the folder.")
    return folder / pure


def _is_code(name: str) -> bool:
    last = PurePosixPath(name).name.lower()
    return last.endswith(CODE) or last.startswith((*CODE_NAMES, "."))


def _is_hub_blob(link: Path, folder: Path) -> bool:
    """Whether a link is how the hub's cache keeps a file: ``snapshots/REVISION/name`` to ``blobs/HASH`` beside them."""
    snapshots = folder.resolve().parent
    found = link.resolve()
    return snapshots.name == "snapshots" and found.parent == snapshots.parent / "blobs" and found.is_file()


def _entries(folder: Path) -> Iterator[tuple[Path, int]]:
    """Every path below that is no folder, with its mode; links are not followed."""
    waiting, seen = [folder], 0
    while waiting:
        for entry in os.scandir(waiting.pop()):
            seen += 1
            if seen > 2 * MOST:
                raise ArtifactError(f"{str(folder)!r} holds more than {2 * MOST} files: it is no artifact.")
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                waiting.append(Path(entry.path))
            else:
                yield Path(entry.path), mode
