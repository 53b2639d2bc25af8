"""What Transformers is about to load is checked first: hashes, files, config, the class, and no pickle."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autocompress.artifact.limits import Header, check_config, read_header
from autocompress.artifact.manifest import CONFIG, MANIFEST, REMEDY, WEIGHTS, read_manifest, verify
from autocompress.artifact.section import Section, read_section
from autocompress.basics.schema import read_json, short
from autocompress.errors import ArtifactError

logger = logging.getLogger(__name__)


def check_source(folder: Path) -> Path | None:
    """Check what Transformers is about to load, as `reader.load` does: hashes, files, config.

    A folder without a manifest, such as a copy by ``save_pretrained``, has no hashes; its config is checked alone.
    Returns the folder, or None for what is no folder (a hub id: its files are checked once they are here).
    """
    if not (folder / CONFIG).is_file():
        return None
    if (folder / MANIFEST).exists():
        verify(folder, read_manifest(folder))
    else:
        logger.info("%s has no %s: there are no hashes to check its files against", folder, MANIFEST)
    checked_section(folder, read_headers(folder))
    return folder.resolve()


def checked_section(folder: Path, header: Header, model_class: Any = None) -> Section:
    """The checked section of a checked config, which is of the kind that ``model_class`` has, if one is given."""
    path = folder / CONFIG
    config = read_json(path, ArtifactError, expected="the config of a model", remedy=REMEDY)
    section = config.get("quantization_config") if isinstance(config, dict) else None
    if section is None:
        raise ArtifactError(f"{path}: it has no quantization_config of ours; {REMEDY}")
    found = read_section(section, f"{path}: quantization_config")
    kind = getattr(getattr(model_class, "config_class", None), "model_type", "")
    if kind and config.get("model_type") != kind:
        raise ArtifactError(
            f"{path}: model_type is {short(config.get('model_type'))}, a {model_class.__name__} has {kind!r}; {REMEDY}"
        )
    check_config(config, str(path), header, len(found.layers))
    return found


def read_headers(folder: Path) -> dict[str, tuple[int, ...]]:
    """The tensors in all weights files of a folder: one, or the shards of a copy."""
    found: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("model*.safetensors")):
        found |= read_header(path)
    if not found:
        raise ArtifactError(f"{str(folder)!r} has no {WEIGHTS}: expected weights as safetensors; {REMEDY}")
    return found


def folder_of(files: Sequence[str]) -> Path | None:
    """Where the weights are. Raises ArtifactError when one of them is a pickle."""
    for file in files:
        if not str(file).endswith(".safetensors"):
            raise ArtifactError(f"{str(file)!r} is no safetensors file: an artifact holds no pickle; do not use it.")
    return Path(files[0]).parent if files else None


def model_class_of(architecture: str) -> Any:
    """A model class that Transformers itself exports, and nothing else that it has under such a name."""
    import transformers

    found = getattr(transformers, architecture, None)
    if found is None:
        raise ArtifactError(
            f"the artifact holds a {architecture}, which transformers {transformers.__version__} does not have: "
            "install the version in its autocompress.json."
        )
    concrete = isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)
    if not concrete or not found.__module__.startswith("transformers.models."):
        raise ArtifactError(
            f"the artifact says that it holds a {architecture}: expected a model class of Transformers; {REMEDY}"
        )
    return found
