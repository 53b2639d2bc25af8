"""Every format that is read from disk: an example, how it is broken, and the public reader. A new one is one entry."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from autocompress.core.policy import LayerPolicy, Policy, Step

from .mutate import json_file, json_lines, of_bytes, safetensors_file, toml_file

sys.path.insert(0, str(Path(__file__).parents[1] / "artifact"))
Strategy = Callable[[bytes], st.SearchStrategy[bytes]]


@dataclass(frozen=True)
class Format:
    """One kind of file.

    example   its bytes when nothing is wrong.   broken: from them to mutations.
    read      what our code does with a file of these bytes, below a fresh folder; raises what it raises.
    weight    how many times more mutations than the dearest format gets.
    """

    name: str
    example: bytes
    broken: Strategy
    read: Callable[[bytes, Path], object]
    weight: int = 10


def formats(folder: Path) -> list[Format]:
    """All of them; their examples are made in ``folder``."""
    logging.getLogger("autocompress").addHandler(logging.NullHandler())
    logging.getLogger("autocompress").propagate = False
    return [*_written_by_users(), *_data(), *_run(folder), *_artifact(folder), *_model(folder)]


def _written_by_users() -> Iterator[Format]:
    policy = Policy(
        {"a": LayerPolicy((Step("int8", {"activations": "token"}),)), "b": LayerPolicy((Step("svd", {"rank": 4}),))}
    )
    yield Format("policy file", policy.text().encode(), json_file, _file("policy.json", Policy.load))
    space = b"""description = "mine"
extends = ["quantize"]
[[rule]]
match = "*"
kind = "ffn"
technique = "ffn-neurons"
share = "layer"
params = { keep = [0.875, 0.75] }
[[rule]]
technique = "int8"
params.activations = "token"
"""
    yield Format("search space", space, toml_file, _file("space.toml", _read_space))
    settings = b"""[search]
model = "demo"
budget = ["20ms", "memory=300MB"]
data = "rows.csv"
batch = 2
time = "5m"
seed = 3
out = "run"
"""
    yield Format("settings", settings, toml_file, _file("autocompress.toml", _read_settings))


def _read_space(path: Path) -> object:
    from autocompress.plugin.registry import load_registry
    from autocompress.space.file import load_space

    return load_space(str(path), load_registry().search_spaces)


def _read_settings(path: Path) -> object:
    from autocompress.cli.request import search_request

    return search_request({}, path.parent)


def _data() -> Iterator[Format]:
    import torch
    from safetensors.torch import save

    from autocompress.data import read_tensors, read_texts

    rows = [
        {"text": f"row {i} of many words {i * 7 % 13}", "label": f"class {i % 3}", "score": i / 7} for i in range(48)
    ]
    csv = "text,label,score\n" + "".join(f'"{r["text"]}",{r["label"]},{r["score"]}\n' for r in rows)
    texts: dict[str, tuple[str, Strategy]] = {
        "txt": ("\n".join(str(row["text"]) for row in rows), of_bytes),
        "csv": (csv, of_bytes),
        "tsv": (csv.replace(",", "\t"), of_bytes),
        "json": (json.dumps(rows), json_file),
        "jsonl": ("".join(json.dumps(row) + "\n" for row in rows), partial(json_lines, seal=_plain_line)),
    }
    for suffix, (text, broken) in texts.items():
        yield Format(f"data {suffix}", text.encode(), broken, _file(f"rows.{suffix}", read_texts))
    tensors = save({"input_ids": torch.arange(480).reshape(48, 10), "labels": torch.arange(48)})
    yield Format("data safetensors", tensors, safetensors_file, _file("rows.safetensors", _read_tensors(read_tensors)))


def _read_tensors(read: Callable[[Path], Any]) -> Callable[[Path], object]:
    from torch import Tensor, nn

    from autocompress.data import splits_of_tensors

    class Model(nn.Module):
        def forward(self, input_ids: Tensor) -> Tensor:
            return input_ids

    return lambda path: splits_of_tensors(read(path), Model())


def _plain_line(document: Any) -> bytes:
    return json.dumps(document).encode() + b"\n"


def _run(folder: Path) -> Iterator[Format]:
    from autocompress.storage import cache
    from autocompress.storage.folder import RunFolder
    from autocompress.storage.lines import seal
    from autocompress.storage.store import Store

    identity = {"model": "demo", "budgets": ["20ms"], "target": {"device": "cpu", "flags": ["avx2"]}, "seed": 0}
    RunFolder(folder / "run", identity).close()
    record = (folder / "run" / "run.json").read_bytes()
    yield Format(
        "run.json", record, json_file, _file("run.json", lambda path: RunFolder(path.parent, identity).close())
    )
    store = Store(folder / "measurements.jsonl")
    for number in range(4):
        store.put(f"trial/abc/{number}", {"quality": number / 3, "latency": [0.1, 0.2], "words": "é"})
    lines = partial(json_lines, seal=lambda found: _sealed(found, seal))
    yield Format("measurements.jsonl", store.path.read_bytes(), lines, _file("measurements.jsonl", Store), 100)
    with _environment(cache.VARIABLE, str(folder / "cache")):
        cache.open_cache({"abc": "kernels"})["abc"].put("kernel/abc/x", {"fp32": 0.1})
    entry = (folder / "cache" / "abc.jsonl").read_bytes()
    yield Format("cache file", entry, lines, _file("abc.jsonl", _read_cache), 100)
    _write_journal(folder / "journal.log")
    yield Format("journal.log", (folder / "journal.log").read_bytes(), lines, _file("journal.log", _read_journal))


def _sealed(document: Any, seal: Callable[[Any], bytes]) -> bytes:
    """A line whose check sum fits, whatever the document has become."""
    if not isinstance(document, dict):
        return _plain_line(document)
    return seal({name: value for name, value in document.items() if name != "sum"})


def _read_cache(path: Path) -> object:
    from autocompress.storage import cache

    with _environment(cache.VARIABLE, str(path.parent)):
        cache.entries()
        return cache.open_cache({"abc": "kernels"})


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name) if before is None else os.environ.update({name: before})


def _ledger(path: Path) -> Any:
    import optuna

    from autocompress.engine.knobs import Knobs
    from autocompress.engine.ledger import Ledger
    from autocompress.engine.problem import Option, Problem, Resource, Unit
    from autocompress.storage.journal import journal_storage, open_study

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    options = tuple(Option(label, (), {"latency": 1.0}, 0.0) for label in "ab")
    problem = Problem(tuple(Unit(name, "linear", 0.0, options) for name in "xy"), (Resource("latency"),))
    study = open_study(journal_storage(path), "search", len(problem.objectives))
    return Ledger(problem, Knobs(("latency",), (), 1), study)


def _write_journal(path: Path) -> None:
    from autocompress.engine.problem import Forecast, Outcome

    forecast = Forecast({"loss": 0.1, "latency": 1.0}, {"loss": 0.1})
    for number in range(3):
        ledger = _ledger(path)
        (asked,) = ledger.ask(1)
        ledger.start(asked, (0, 1), "sweep", forecast)
        cause = "it broke" if number == 1 else None
        if number < 2:
            ledger.finish(asked, (0, 1), "sweep", Outcome({"loss": 0.1, "latency": 1.0}, cause=cause), forecast)


def _read_journal(path: Path) -> object:
    return _ledger(path).restore()


def _artifact(folder: Path) -> Iterator[Format]:
    from tiny_models import build

    from autocompress.plugin.registry import load_registry

    registry = load_registry()
    made = build("bert", folder / "artifact", registry)

    def broken_file(name: str, content: bytes, below: Path) -> object:
        """The artifact with one file changed, and every hash in order."""
        from autocompress.artifact import load

        copy = below / "artifact"
        shutil.copytree(made.folder, copy)
        (copy / name).write_bytes(content)
        if name != "autocompress.json":
            _sign(copy)
        return load(copy, registry=registry).example()

    kinds: dict[str, Strategy] = {
        "autocompress.json": _manifest,
        "policy.json": json_file,
        "layers.json": json_file,
        "config.json": json_file,
        "model.safetensors": safetensors_file,
        "buffers.safetensors": safetensors_file,
        "example.safetensors": safetensors_file,
    }
    for name, broken in kinds.items():
        yield Format(f"artifact {name}", (made.folder / name).read_bytes(), broken, partial(broken_file, name), 2)


def _manifest(content: bytes) -> st.SearchStrategy[bytes]:
    from autocompress.artifact.manifest import _render

    def signed(found: bytes) -> bytes:
        try:
            document = json.loads(found)
            document.pop("digest", None)
            return _render(document).encode()
        except (ValueError, AttributeError, TypeError, RecursionError):
            return found

    return st.one_of(of_bytes(content), json_file(content).map(signed))


def _sign(folder: Path) -> None:
    from autocompress.artifact.manifest import MANIFEST, _render, hash_files

    data = json.loads((folder / MANIFEST).read_text())
    data.pop("digest")
    (folder / MANIFEST).write_text(_render({**data, "files": hash_files(folder)}))


def _model(folder: Path) -> Iterator[Format]:
    import transformers as hf
    from autocompress_transformers.folder import Permissions
    from autocompress_transformers.loader import load

    config = hf.BertConfig(
        vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32,
    )  # fmt: skip
    source = folder / "model"
    hf.BertModel(config).save_pretrained(source)
    index = {"metadata": {}, "weight_map": {"pooler.dense.bias": "model.safetensors"}}
    (source / "model.safetensors.index.json").write_text(json.dumps(index))

    def broken_file(name: str, content: bytes, below: Path) -> object:
        copy = below / "model"
        shutil.copytree(source, copy)
        (copy / name).write_bytes(content)
        return load(str(copy), None, Permissions())

    for name in ("config.json", "model.safetensors.index.json"):
        yield Format(f"model {name}", (source / name).read_bytes(), json_file, partial(broken_file, name), 2)


def _file(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    def written(content: bytes, below: Path) -> object:
        (below / name).write_bytes(content)
        return read(below / name)

    return written
