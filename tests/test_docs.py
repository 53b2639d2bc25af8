"""What the documents show is true: every plugin in them keeps its contract, commands, names, files and links exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch
from typer.main import get_command

import autocompress
from autocompress.cli.app import app
from autocompress.contracts.runtime import Runtime
from autocompress.plugin.registry import Registry, load_registry
from autocompress.structure import find_layers
from autocompress.testing import EvaluatorContract, RuntimeContract, TechniqueContract

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]}
BLOCKS = [(name, block) for name in PAGES for block in re.findall(r"```python\n(.*?)```", PAGES[name], re.DOTALL)]
PLUGINS = re.findall(r"<!-- plugin -->\n```python\n(.*?)```", PAGES["plugins.md"], re.DOTALL)


def plugin(hook: str) -> ModuleType:
    """The plugin of the guide that implements a hook, run."""
    source = next(block for block in PLUGINS if f"def autocompress_{hook}" in block)
    module = ModuleType("plugin_of_the_guide")
    exec(compile(source, "docs/plugins.md", "exec"), vars(module))
    return module


def registered(hook: str) -> Registry:
    return load_registry([plugin(hook)])


class TestTechniqueOfTheGuide(TechniqueContract):
    technique = plugin("techniques").PlainSvd()
    least_cosine = 0.5  # half of the paying rank, of random weights


class TestEvaluatorOfTheGuide(EvaluatorContract):
    evaluator = plugin("evaluators").WorstRow()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
class TestRuntimeOfTheGuide(RuntimeContract):
    runtime: Runtime = plugin("runtimes").Traced()


def test_every_plugin_of_the_guide_registers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "plain-svd" in registered("techniques").techniques
    assert "worst-row" in registered("evaluators").evaluators
    assert "torch-traced" in registered("runtimes").runtimes
    objective = registered("objectives").objectives["parameters"]
    assert objective.function is not None
    assert objective.function(torch.nn.Linear(3, 2)) == 8
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "mine.toml").write_text('[[rule]]\nkind = "linear"\ntechnique = "svd"\n')
    monkeypatch.chdir(tmp_path)
    registry = registered("samplers")
    assert "mine" in registry.search_spaces
    assert registry.samplers["quasi-random"](0, 10) is not None


def test_the_loader_of_the_guide_loads() -> None:
    loaded, _ = registered("load_model").load_model(
        source="toy:1", task=None, trust_remote_code=False, allow_pickle=False
    )
    assert loaded is not None
    assert loaded.default_tensors is not None
    kinds = {layer.kind for layer in find_layers(loaded.model, {"input": loaded.default_tensors()["input"][:2]})}
    assert {"linear", "ffn"} <= kinds


def test_python_blocks_are_python_and_their_names_exist() -> None:
    assert len(BLOCKS) >= 8
    for _page, block in BLOCKS:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ac":
                assert node.attr in autocompress.__all__


def test_every_hook_is_in_the_guide() -> None:
    from autocompress.plugin import hooks

    for name in vars(hooks):
        if name.startswith("autocompress_"):
            assert f"def {name}(" in PAGES["plugins.md"], name


def test_every_command_is_in_the_readme_and_the_reverse() -> None:
    commands = set(getattr(get_command(app), "commands", {}))
    named = set(
        re.findall(
            r"`(?:autocompress )?(\w+)(?: [^`]*)?`",
            PAGES["README.md"].partition("## Commands")[2].partition("\n\nBudgets")[0],
        )
    )
    assert commands <= named


def test_every_room_is_drawn() -> None:
    drawn = PAGES["architecture.md"].partition("## One policy")[0]
    for folder in (path.parent.name for path in Path(autocompress.__file__).parent.glob("*/__init__.py")):
        assert re.search(rf"\b{folder}\b", drawn), f"{folder} is not drawn"


@pytest.mark.parametrize("page", PAGES)
def test_files_and_links_exist(page: str) -> None:
    folder = ROOT if page == "README.md" else ROOT / "docs"
    prose = re.sub(r"```.*?```", "", PAGES[page], flags=re.DOTALL)
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", prose):
        assert (folder / link).exists(), f"{page} links {link}"
    for named in re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", PAGES[page]):
        assert (ROOT / named).exists() or (ROOT / "autocompress" / named).exists(), f"{page} names {named}"
