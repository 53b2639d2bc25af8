"""Where a model's files are: a local folder, or a snapshot of a hub repository in the local cache."""

from __future__ import annotations

import re
from pathlib import Path

from autocompress.plugin import ModelError
from autocompress_transformers.folder import PICKLES, Permissions

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")


def locate(source: str, permissions: Permissions) -> Path:
    """The folder of a model. A name that is no folder here, but looks like a hub id, is fetched from the hub.

    Only data files are fetched; code and pickle only where they are allowed. HF_HUB_OFFLINE is honoured.
    Raises ModelError for a missing folder, an unknown id or an unreachable hub.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        raise ModelError(f"{source!r} is a file: expected a folder with config.json and *.safetensors, or a hub id.")
    if not _HUB_ID.fullmatch(source):
        raise ModelError(
            f"no folder {source!r}: expected a model folder or a hub id such as 'owner/name'; check the path."
        )
    code = ("*.py",) if permissions.trust_remote_code else ()
    folder = _snapshot(source, (*_FILES, *code))
    if any(found for pattern in ("*.safetensors", *PICKLES) for found in folder.glob(pattern)):
        return folder
    if not permissions.allow_pickle:
        raise ModelError(
            f"{source!r} has no safetensors on the hub: its weights may be pickle, and unpickling can run any code; "
            "give --allow-pickle if you trust its origin, or name another model."
        )
    return _snapshot(source, (*_FILES, *code, *PICKLES))


def _snapshot(source: str, patterns: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:  # files of subfolders are exports to other frameworks
        return Path(snapshot_download(source, allow_patterns=list(patterns), ignore_patterns=["*/*"]))
    except HFValidationError as error:
        raise ModelError(f"no folder {source!r}, and it is not a hub id: expected a path or 'owner/name'.") from error
    except GatedRepoError as error:
        raise ModelError(
            f"the hub gives {source!r} only to users who accepted its terms: "
            "accept them on the model's page, then run: hf auth login"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"no folder {source!r} here and no such model on the hub: "
            "check the name; for a private model run: hf auth login"
        ) from error
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"no folder {source!r} here, no copy of it in the cache, and the hub cannot be reached: "
            "give the path of a model folder, or connect and run again."
        ) from error
    except Exception as error:  # the transport's own errors differ between versions of huggingface_hub
        raise ModelError(
            f"no folder {source!r} here, and it cannot be fetched from the hub ({type(error).__name__}): "
            "give the path of a model folder, or connect and run again."
        ) from error
