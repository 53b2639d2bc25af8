"""The house stays clean: floors, names, packages, hooks, spaces, sizes."""

from __future__ import annotations

import ast
import importlib
import inspect
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import autocompress
from autocompress.plugin import hooks as hookspecs

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS = ("autocompress", "plugins", "search_spaces", "examples")
CODE = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
HOOKS = [name for name in vars(hookspecs) if name.startswith("autocompress_")]
SPACES = sorted((ROOT / "search_spaces").glob("*.toml"))
LONGEST = 350

UNSAFE = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
ALLOWED = {
    # A module that was passed in from Python goes to the measuring process over a pipe between two of our own
    # processes; nothing of it is ever read from a file.
    "autocompress/sessions/child.py": {"cloudpickle"},
    "autocompress/sessions/parent.py": {"cloudpickle"},
}
"""File to the unsafe things that it may use, with the reason."""


def test_imports_go_down_only() -> None:
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("core/policy.py", "from autocompress.pipeline import search"),
        ("basics/units.py", "import autocompress.core.policy"),
        ("stray.py", "X = 1"),
    ],
)
def test_an_import_that_goes_up_and_a_module_without_a_floor_are_caught(file: str, line: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "autocompress", tmp_path / "autocompress", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    planted = tmp_path / "autocompress" / file
    planted.write_text((planted.read_text(encoding="utf-8") if planted.exists() else "") + f"\n{line}\n")
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"autocompress.{file.removesuffix('.py').replace('/', '.')}" in done.stdout


def test_built_in_plugins_use_the_door_that_strangers_use() -> None:
    doors = ("autocompress", "autocompress.plugin", "autocompress.testing", "autocompress.testing.groups")
    for folder in ("plugins", "examples"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
                strangers = [name for name in names if name.partition(".")[0] == "autocompress" and name not in doors]
                assert not strangers, f"{path.relative_to(ROOT)} imports {strangers[0]}"


def test_the_door_of_plugins_opens_without_torch() -> None:
    code = "import sys; import autocompress.plugin as p; [getattr(p, n) for n in ('Technique', 'Evaluator', 'Runtime')]"
    code += "; assert not {'torch', 'transformers'} & set(sys.modules); [getattr(p, name) for name in p.__all__]"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_every_public_name_is_there_and_listed() -> None:
    assert autocompress.__all__ == sorted(autocompress.__all__)
    for name in autocompress.__all__:
        assert getattr(autocompress, name) is not None
    listed = {name for name in autocompress.__all__ if name != "__version__"}
    tree = ast.parse((ROOT / "autocompress" / "__init__.py").read_text(encoding="utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {alias.name for node in ast.walk(checked) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert listed <= typed, "names in __all__ that type checkers cannot see"
    assert typed - listed <= {"Any"}, "names that type checkers see and __all__ lacks"


def test_packages_in_pyproject_are_the_folders() -> None:
    settings = PROJECT["tool"]["setuptools"]
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "autocompress").rglob("__init__.py")}
    plugins = {path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py")}
    assert set(settings["packages"]) == folders | plugins | {"autocompress.search_spaces"}
    for package, folder in settings["package-dir"].items():
        assert (ROOT / folder / "__init__.py").is_file(), package
    entries = set(PROJECT["project"]["entry-points"]["autocompress"].values())
    assert entries == plugins | {"autocompress.search_spaces"}


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_documentation_and_a_test(hook: str) -> None:
    assert inspect.getdoc(getattr(hookspecs, hook))
    this = Path(__file__).resolve()
    tests = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]
    assert any(hook in path.read_text(encoding="utf-8") for path in tests if path.resolve() != this), (
        f"no test mentions {hook}"
    )


@pytest.mark.parametrize("space", [path.stem for path in SPACES])
def test_every_search_space_binds_on_a_tiny_encoder(space: str) -> None:
    import torch
    from transformers import BertConfig, BertModel

    from autocompress.core.target import Target
    from autocompress.plugin.registry import load_registry
    from autocompress.space.binding import bind
    from autocompress.space.file import load_space
    from autocompress.structure import find_layers

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=64, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128
    )  # fmt: skip
    model = BertModel(config).eval()
    tokens = torch.randint(0, 64, (2, 8))
    layers = find_layers(model, {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)})
    registry = load_registry()
    flags = {"flags": ["avx2", "avx512f", "avx512_vnni", "avx512_bf16"]}
    binding = bind(load_space(space, registry.search_spaces), layers, registry, Target(fingerprint=flags))
    assert binding.slots
    assert all(slot.options[0].steps == () for slot in binding.slots)
    assert all(len(slot.options) > 1 for slot in binding.slots)


def test_there_are_search_spaces() -> None:
    assert {path.stem for path in SPACES} >= {"encoder-cpu", "quantize", "prune", "full"}


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_stay_small_and_say_what_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "a file begins with a line that says what it is"


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_unsafe_is_used(path: Path) -> None:
    allowed = ALLOWED.get(path.relative_to(ROOT).as_posix(), set())
    found = unsafe(ast.parse(path.read_text(encoding="utf-8")))
    assert found <= allowed


def test_allowances_are_still_needed() -> None:
    for name, reasons in ALLOWED.items():
        path = ROOT / name
        assert path.is_file(), name
        assert unsafe(ast.parse(path.read_text(encoding="utf-8"))) == reasons


def test_unsafe_things_are_seen() -> None:
    source = "import pickle\nfrom torch import load\nimport torch\ntorch.load('x')\neval('1')\nexec('1')\nmodel.eval()"
    assert unsafe(ast.parse(source)) == {"pickle", "torch.load", "eval", "exec"}


def unsafe(tree: ast.AST) -> set[str]:
    """Modules that run code when they read, and calls that do: torch.load without weights_only, eval, exec."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names} & UNSAFE
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module.partition(".")[0]} & UNSAFE
            found |= {"torch.load"} if node.module == "torch" and any(a.name == "load" for a in node.names) else set()
        elif isinstance(node, ast.Call):
            found |= {ast.unparse(node.func)} & {"torch.load", "eval", "exec", "compile"}
    return found


def test_a_message_stays_readable_whatever_was_given() -> None:
    from autocompress.errors import DataError

    said = str(DataError(f"no column {'9' * 100_000!r}: expected 'text'."))
    assert said.startswith("no column '999")
    assert said.endswith("expected 'text'.")
    assert len(said) < 300
    assert str(DataError(long := "a/" * 200)) == long


def test_every_module_imports() -> None:
    for path in CODE:
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[0] == "autocompress" and path.stem not in ("__init__", "__main__"):
            importlib.import_module(".".join(parts))


def test_no_public_name_is_hidden_by_a_submodule() -> None:
    # Importing a submodule sets it on the package, over a function of the same name.
    inside = {path.stem for path in (ROOT / "autocompress").iterdir()}
    assert inside & set(autocompress.__all__) == set()


@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "benchmarks").glob("bench_*.py")), ids=lambda path: path.stem)
def test_every_benchmark_of_the_makefile_imports(path: Path) -> None:
    assert f"tests.benchmarks.{path.stem}" in (ROOT / "Makefile").read_text(encoding="utf-8")
    command = [sys.executable, "-c", f"import tests.benchmarks.{path.stem}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
