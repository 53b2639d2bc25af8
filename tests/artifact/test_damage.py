"""Whatever happened to a folder, loading it answers with one line that says what."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_models import Made

from autocompress.artifact import Record, annotate, load, read_manifest
from autocompress.artifact.folder import inside
from autocompress.artifact.manifest import MANIFEST, Manifest, write_manifest
from autocompress.errors import ArtifactError
from autocompress.plugin.registry import Registry
from autocompress.sessions import bench


def refuse(folder: Path, expected: str, **options: object) -> None:
    with pytest.raises(ArtifactError) as caught:
        load(folder, **options)  # type: ignore[arg-type]
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_changed_byte_in_any_file(make: Callable[..., Made]) -> None:
    folder = make("bert").folder
    for path in sorted(folder.iterdir()):
        before = path.read_bytes()
        for position in (0, len(before) // 2, len(before) - 1):
            changed = bytearray(before)
            changed[position] ^= 1
            path.write_bytes(changed)
            refuse(folder, path.name)
        path.write_bytes(before)
    load(folder)


def test_a_missing_file(make: Callable[..., Made]) -> None:
    folder = make("bert").folder
    (folder / "policy.json").unlink()
    refuse(folder, "'policy.json' cannot be read")


def test_foreign_folders(tmp_path: Path) -> None:
    refuse(tmp_path / "absent", "no such folder")
    refuse(tmp_path, f"has no {MANIFEST}")
    (tmp_path / MANIFEST).write_text("{")
    refuse(tmp_path, "is damaged")
    (tmp_path / MANIFEST).write_text("[]")
    refuse(tmp_path, "no format_version")
    (tmp_path / MANIFEST).write_text('{"format_version": 99}')
    refuse(tmp_path, "pip install --upgrade autocompress")


def test_a_technique_that_is_not_installed(make: Callable[..., Made], registry: Registry) -> None:
    folder = make("bert").folder
    without = replace(registry)
    missing = next(iter(read_manifest(folder).techniques))
    vars(without)["techniques"] = {name: one for name, one in registry.techniques.items() if name != missing}
    refuse(folder, f"needs technique '{missing}', which is not installed: pip install autocompress", registry=without)


def test_a_runtime_that_is_not_installed(make: Callable[..., Made], registry: Registry) -> None:
    without = replace(registry)
    vars(without)["runtimes"] = {}
    refuse(
        make("bert").folder, "needs runtime 'torch', which is not installed: pip install autocompress", registry=without
    )


def test_a_loader_that_is_not_installed_is_told_before_anything_is_measured(make: Callable[..., Made]) -> None:
    folder = make("bert", record=Record(source="zoo://bert", loader="zoo-models")).folder
    with pytest.raises(ArtifactError, match=r"dense model 'zoo://bert', .* not installed: pip install zoo-models"):
        bench(folder, sessions=1)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b", "..", "C:\\x", "a\\..\\b", ""])
def test_no_path_leaves_the_folder(name: str, make: Callable[..., Made]) -> None:
    made = make("plain")
    with pytest.raises(ArtifactError, match="outside the folder"):
        inside(made.folder, name)
    manifest = read_manifest(made.folder)
    files = {**manifest.files, name: "0" * 64}
    write_manifest(made.folder, Manifest(**{**vars(manifest), "files": files}))
    refuse(made.folder, "outside the folder")


def test_figures_are_added_later(make: Callable[..., Made]) -> None:
    folder = make("plain").folder
    annotate(folder, quality={"mean cosine": 0.99}, command="autocompress search")
    record = read_manifest(folder).record
    assert record.quality == {"mean cosine": 0.99}
    assert record.command == "autocompress search"


def test_there_is_no_pickle(make: Callable[..., Made]) -> None:
    for path in make("bert").folder.iterdir():
        assert path.suffix in (".json", ".safetensors")
        if path.suffix == ".json":
            json.loads(path.read_text())
