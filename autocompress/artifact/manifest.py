"""The manifest of an artifact: the hash of every file, where the model came from, and every measured figure."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from autocompress.artifact.folder import check_folder, inside
from autocompress.basics.disk import raise_when_full
from autocompress.basics.read_file import read_text
from autocompress.basics.schema import parse_json, shaped, short
from autocompress.core.measurement import Measurement
from autocompress.core.target import Target
from autocompress.errors import ArtifactError

FORMAT_VERSION = 1
MANIFEST = "autocompress.json"
WEIGHTS, BUFFERS, EXAMPLE = "model.safetensors", "buffers.safetensors", "example.safetensors"
POLICY, LAYERS, CONFIG = "policy.json", "layers.json", "config.json"
DEVICES = ("cpu", "cuda")
MOST = 1 << 20
"""The largest batch, sequence and number of threads."""
KINDS = ("transformers", "module")
REMEDY = "export the artifact again."
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Record:
    """What whoever saves an artifact tells about it; all JSON-able.

    source         what the user named, to load the dense model again; "" for a module from Python.
    loader         the distribution of the plugin that loaded it, for pip; "" when it is not known.
    task           the task it was loaded for.   trust_remote_code, allow_pickle: as it was loaded.
    budgets        one object a budget: ``Verdict.to_json()`` once there is a verdict.
    measurements   objective name to ``Measurement.to_json()``.
    quality        metric name to value.
    command        the line that replays the search.   seeds: name to seed.
    """

    source: str = ""
    loader: str = ""
    task: str = "other"
    trust_remote_code: bool = False
    allow_pickle: bool = False
    budgets: tuple[Mapping[str, Any], ...] = ()
    measurements: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    quality: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    seeds: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """Everything in ``autocompress.json``.

    kind          ``transformers`` or ``module`` (then loading needs the dense module as ``base=``).
    architecture  the model's class.
    files         name to sha256 of every other file.   weights: those that count as its size, the
                  torch weights or what its runtime reads in their place.
    techniques    technique name to the distribution that it came from; ``runtimes`` the same for what runs it.
    aliases       state-dict names that were saved under another name, because they share its storage.
    """

    kind: str
    architecture: str
    target: Target
    files: Mapping[str, str]
    weights: tuple[str, ...]
    techniques: Mapping[str, str]
    aliases: Mapping[str, str]
    versions: Mapping[str, str]
    created: str
    record: Record = field(default_factory=Record)
    runtimes: Mapping[str, str] = field(default_factory=dict)

    @property
    def runtime(self) -> str:
        return self.target.runtime

    def to_json(self) -> dict[str, Any]:
        return {"format_version": FORMAT_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str = MANIFEST) -> Manifest:
        """What ``to_json`` wrote. Raises ArtifactError naming the first field that is off."""
        plain = {name: found for name, found in data.items() if name != "format_version"}
        found = shaped(cls, plain, where, ArtifactError, remedy=REMEDY)
        wrong = _wrong(found)
        if wrong:
            raise ArtifactError(f"{where}: {wrong}; {REMEDY}")
        for name, figure in found.record.measurements.items():
            Measurement.from_json(figure, where=f"{where}: record.measurements.{name}")
        return found


def _wrong(manifest: Manifest) -> str:
    """What no writer of ours has written, in words; "" when there is none."""
    files = manifest.files
    if manifest.kind not in KINDS:
        return f"kind is {short(manifest.kind)}, expected one of {', '.join(KINDS)}"
    if not files:
        return "it lists no files"
    if len({name.casefold() for name in files}) < len(files):
        return "two of its files differ only in case"
    needed = (WEIGHTS, POLICY, LAYERS, *([CONFIG] if manifest.kind == "transformers" else []))
    for name in needed:
        if name not in files:
            return f"it does not list {name}"
    for name, digest in files.items():
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            return f"the hash of {short(name)} is {short(digest)}, expected 64 hexadecimal digits"
    if not manifest.weights or not set(manifest.weights) <= set(files):
        return f"weights are {short(manifest.weights)}, expected {WEIGHTS} or others of its files"
    if not manifest.architecture.isidentifier():
        return f"architecture is {short(manifest.architecture)}, expected the name of a class"
    return _wrong_target(manifest.target)


def _wrong_target(target: Target) -> str:
    if target.device not in DEVICES:
        return f"target.device is {short(target.device)}, expected one of {', '.join(DEVICES)}"
    for name, least in (("batch", 1), ("sequence", 0), ("threads", 1)):
        if not least <= getattr(target, name) <= MOST:
            return f"target.{name} is {getattr(target, name)}, expected {least} to {MOST}"
    flags = target.fingerprint.get("flags", [])
    if not isinstance(flags, list) or not all(isinstance(flag, str) for flag in flags):
        return f"target.fingerprint.flags are {short(flags)}, expected names of instruction sets"
    return ""


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``autocompress.json`` whole or not at all. Raises ArtifactError when the folder is not writable."""
    temporary = folder / f".{MANIFEST}.{os.getpid()}"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(_render(manifest.to_json()))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, folder / MANIFEST)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise_when_full(error, folder / MANIFEST)
        raise ArtifactError(f"cannot write {str(folder / MANIFEST)!r}: {error.strerror or error}.") from error


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of an artifact. Raises ArtifactError: not an artifact, newer format, or changed."""
    path = Path(folder) / MANIFEST
    if not path.is_file():
        what = "there is no such folder" if not Path(folder).is_dir() else f"it has no {MANIFEST}"
        raise ArtifactError(
            f"{str(folder)!r} is not an autocompress artifact: {what}; expected what a search wrote to best/."
        )
    text = read_text(path, ArtifactError, expected="the manifest of an artifact")
    data = parse_json(text, str(path), ArtifactError, remedy=f"it is damaged: {REMEDY}")
    version = data.get("format_version") if isinstance(data, dict) else None
    if type(version) is not int or version < 1:
        raise ArtifactError(f"{path} has no format_version: expected the manifest of an autocompress artifact.")
    if version > FORMAT_VERSION:
        raise ArtifactError(
            f"{path} has format_version {version}, this autocompress reads up to {FORMAT_VERSION}: "
            "pip install --upgrade autocompress."
        )
    digest = data.pop("digest", None)
    if digest != _digest(data) or text != _render(data):
        raise ArtifactError(f"{path} was changed after it was written; export the artifact again.")
    return Manifest.from_json(data, str(path))


def annotate(folder: str | Path, **changes: Any) -> Manifest:
    """Replace fields of the manifest's `Record`, such as ``measurements`` and ``budgets`` after verification."""
    manifest = read_manifest(folder)
    manifest = replace(manifest, record=replace(manifest.record, **changes))
    write_manifest(Path(folder), manifest)
    return manifest


def verify(folder: str | Path, manifest: Manifest) -> None:
    """Check that the folder holds what the manifest lists, unchanged, and nothing else.

    Raises ArtifactError naming the first file that is missing, changed, not listed, or no plain file.
    """
    check_folder(Path(folder), manifest.files, MANIFEST)
    for name, expected in manifest.files.items():
        path = inside(Path(folder), name)
        try:
            found = sha256(path)
        except OSError as error:
            raise ArtifactError(
                f"{str(folder)!r}: file {name!r} cannot be read ({error.strerror or error}); {REMEDY}"
            ) from error
        if found != expected:
            raise ArtifactError(
                f"{str(folder)!r}: file {name!r} was changed (sha256 {found[:12]}, expected {expected[:12]}); {REMEDY}"
            )


def hash_files(folder: Path) -> dict[str, str]:
    """Relative name to sha256 of every file below the folder, but the manifest; sorted."""
    return {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    }


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def size(folder: str | Path, manifest: Manifest) -> int:
    """Bytes on disk of the weights, as the size budget counts them."""
    return sum(inside(Path(folder), name).stat().st_size for name in manifest.weights)


def _render(data: Mapping[str, Any]) -> str:
    return json.dumps({**data, "digest": _digest(data)}, indent=1) + "\n"


def _digest(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
