"""A checkpoint folder, judged before any of its weights are read: each defect is one clear line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autocompress.plugin import ModelError, cause, near_misses, read_header, read_json, shaped, short

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class _Config:
    """The part of a config that says what the model is."""

    model_type: str | None = None
    architectures: list[str] | None = None


@dataclass(frozen=True)
class _Index:
    """The part of an index that says where the tensors are."""

    weight_map: Mapping[str, str]


@dataclass(frozen=True)
class Permissions:
    """What the user allows: code that comes with a model, and weights in pickle files."""

    trust_remote_code: bool = False
    allow_pickle: bool = False


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json. Raises ModelError when it is missing or not a JSON object."""
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(
            f"no config.json in {str(folder)!r}: expected a Hugging Face model folder "
            "(config.json and *.safetensors); save one with model.save_pretrained(folder)."
        )
    config = read_json(path, ModelError, expected="a model's config", remedy="copy the model's config.json again.")
    if not isinstance(config, dict):
        raise ModelError(f"{path}: expected a JSON object with model_type; copy the model's config.json again.")
    shaped(_Config, config, str(path), ModelError, remedy="copy the model's config.json again.", extra=True)
    return config


def check_code(folder: Path, config: dict[str, Any], permissions: Permissions) -> bool:
    """Whether the model needs the code that comes with it; only for models that Transformers does not have.

    Raises ModelError when that code is not trusted, or when the kind of model is not known at all.
    """
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = config.get("model_type")
    named = (config.get("architectures") or [""])[0]
    built_in = kind in CONFIG_MAPPING and (not named or hasattr(transformers, named))
    if built_in:
        return False
    if config.get("auto_map"):
        if permissions.trust_remote_code:
            return True
        raise ModelError(
            f"{str(folder)!r} runs its own Python code (auto_map in config.json), which is off by default: "
            "read that code, then give --trust-remote-code."
        )
    if kind is None:
        raise ModelError(
            f"no model_type in {str(folder / 'config.json')!r}: expected a config saved by Transformers; "
            "save the model with model.save_pretrained(folder)."
        )
    if kind not in CONFIG_MAPPING:
        close = near_misses(str(kind), CONFIG_MAPPING.keys())
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise ModelError(
            f"unknown model_type {short(kind)} in {str(folder / 'config.json')!r} for transformers "
            f"{transformers.__version__}.{hint} Upgrade with: pip install -U transformers"
        )
    return False


def check_weights(folder: Path, permissions: Permissions) -> bool:
    """Whether the weights are safetensors (else pickle, allowed). Raises ModelError on any other state of things."""
    tensors = _tensors(folder)
    if tensors:
        for path in tensors:
            _check_safetensors(path)
        return True
    pickles = sorted(found.name for pattern in PICKLES for found in folder.glob(pattern))
    if not pickles:
        raise ModelError(
            f"no weights in {str(folder)!r}: expected model.safetensors; save them with model.save_pretrained(folder)."
        )
    if not permissions.allow_pickle:
        raise ModelError(
            f"{str(folder)!r} has its weights only as pickle ({pickles[0]}), and unpickling a file can run any code: "
            "convert it to safetensors, or give --allow-pickle if you trust its origin."
        )
    return False


def shapes_of(folder: Path) -> dict[str, tuple[int, ...]]:
    """Name to shape of every tensor in the folder's safetensors files, which `check_weights` found whole."""
    found: dict[str, tuple[int, ...]] = {}
    for path in _tensors(folder):
        found |= read_header(path)
    return found


def check_dense(folder: Path, config: dict[str, Any]) -> None:
    """Raises ModelError for a checkpoint that is quantized or compressed already."""
    found = config.get("quantization_config")
    if found:
        method = found.get("quant_method", "unknown method") if isinstance(found, dict) else found
        raise ModelError(
            f"{str(folder)!r} is compressed already ({method}): expected the dense checkpoint to start from; "
            "give the folder or id of the original model."
        )


def _tensors(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.safetensors"))
    return sorted({*found, *_shards(folder)}) if (folder / INDEX).is_file() else found


def _shards(folder: Path) -> list[Path]:
    path, remedy = folder / INDEX, "it is damaged: copy the file again."
    index = read_json(path, ModelError, expected="an index of shards", remedy=remedy)
    found = shaped(_Index, index, str(path), ModelError, remedy=remedy, extra=True)
    names = sorted(set(found.weight_map.values()))
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ModelError(f"{path}: the shard {name!r} is no safetensors file beside it; {remedy}")
    return [folder / name for name in names]


def _check_safetensors(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ModelError(f"missing shard {str(path)!r}, which {INDEX} names: expected all shards; copy it again.")
    try:
        with safe_open(path, framework="pt") as opened:  # reads the header and compares it with the file's length
            opened.keys()
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{str(path)!r} is broken or cut off ({cause(error)}): expected a complete safetensors file; copy it again."
        ) from error
