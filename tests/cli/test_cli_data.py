"""Data from the command line: labels of a csv decide the quality, tensors are safetensors, loaders bring their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from safetensors.torch import save_file

from autocompress.cli import errors
from autocompress.cli.app import app
from autocompress.errors import UsageError

GOOD, BAD = ["good", "nice", "fine", "great"], ["bad", "poor", "sad", "awful"]
FILL = ["the", "a", "cat", "dog", "sat", "ran", "on", "mat", "fast", "slow", "red", "blue", "and", "of", "bird", "fish"]
CLASSES = {"neg": 0, "pos": 1}
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
QUICK = ("--threads", 1, "--trials", 3, "--sessions", 2, "--space", "prune", "-b", "size=120%", "-o", "run")


def sentences(count: int, seed: int) -> list[tuple[str, str]]:
    """Eight words, one of which decides the label."""
    generator = torch.Generator().manual_seed(seed)

    def draw(most: int) -> int:
        return int(torch.randint(most, (1,), generator=generator))

    rows = []
    for _ in range(count):
        label = draw(2)
        words = [FILL[draw(len(FILL))] for _ in range(7)]
        words.insert(draw(8), (BAD, GOOD)[label][draw(4)])
        rows.append((" ".join(words), list(CLASSES)[label]))
    return rows


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT, trained to tell good words from bad ones, with its tokenizer and label2id."""
    folder = tmp_path_factory.mktemp("classifier")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *GOOD, *BAD, *FILL]))
    tokenizer = hf.BertTokenizerFast(str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    names = {"label2id": CLASSES, "id2label": {number: name for name, number in CLASSES.items()}}
    model = hf.BertForSequenceClassification(hf.BertConfig(vocab_size=64, max_position_embeddings=40, **SMALL, **names))
    rows = sentences(256, seed=1)
    inputs = tokenizer([row for row, _ in rows], padding="max_length", max_length=12, return_tensors="pt")
    labels = torch.tensor([CLASSES[label] for _, label in rows])
    optimizer = torch.optim.AdamW(model.train().parameters(), 3e-3)
    for step in range(80):
        part = torch.arange(step * 64, step * 64 + 64) % 256
        loss = model(**{name: value[part] for name, value in inputs.items()}, labels=labels[part]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.1
    model.eval().save_pretrained(folder)
    return folder


def write_csv(path: Path, rows: list[tuple[str, Any]], header: str = "text,label") -> Path:
    path.write_text(header + "\n" + "\n".join(f"{text},{label}" for text, label in rows) + "\n")
    return path


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory, classifier: Path, run_cli: Callable[..., Any]) -> Any:
    """A search on a csv of sentences, every tenth of which has the wrong label: what it said, and its folder."""
    folder = tmp_path_factory.mktemp("searched")
    rows = [
        (text, label if number % 10 else {"neg": "pos", "pos": "neg"}[label])
        for number, (text, label) in enumerate(sentences(200, seed=2))
    ]
    write_csv(folder / "rows.csv", rows)
    data = ("--data", "rows.csv", "--sequence", 12, "-b", "quality=80%")
    ran = run_cli(folder, "search", classifier, *data, *QUICK)
    assert ran.code == 0, ran.stderr
    return ran, folder


def test_a_classifier_is_searched_by_its_accuracy_on_the_labels_of_a_csv(searched: Any) -> None:
    ran, folder = searched
    lines = ran.stdout.splitlines()
    assert lines[0].split()[0] == "accuracy"
    dense = float(lines[1].split()[1])
    assert 0.8 < dense < 1.0  # the wrong labels, and hardly more
    kept = next(float(line.split()[1]) for line in lines if line.startswith("kept"))
    assert kept > 0.8 * dense
    assert "quality is accuracy (evaluator accuracy)" in ran.stderr
    assert "labels: column 'label' of rows.csv" in ran.stderr
    result = json.loads((folder / "run" / "result.json").read_text())
    assert result["metric"] == "accuracy"
    test = result["test"]
    assert 0.7 < test["dense_quality"] < 1.0
    assert f"test split: accuracy {test['quality']:.4f} (dense {test['dense_quality']:.4f})" in ran.stdout
    assert set(test) >= {"top1_agreement", "fidelity", "selection", "search"}


def test_labels_of_a_relative_quality_budget_are_judged_on_the_same_rows(searched: Any) -> None:
    _, folder = searched
    verdicts = json.loads((folder / "run" / "result.json").read_text())["verdicts"]
    quality = next(one for one in verdicts if one["budget"] == "quality")
    assert quality["state"] == "kept"
    assert quality["limit"] <= 0.8  # 80 % of the dense accuracy on those rows


@pytest.fixture
def refuses(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, here: Path) -> Callable[..., str]:
    """Runs a search in this process that must end with exit code 2 and one line; gives the line."""

    def run(*arguments: Any, command: str = "search", extra: tuple[Any, ...] = ("-b", "75%")) -> str:
        monkeypatch.chdir(here)
        before = set(here.rglob("*"))
        code = errors.run(app, [command, *map(str, arguments), *map(str, extra)])
        told = capsys.readouterr().err
        lines = [line for line in told.splitlines() if line.startswith("error: ")]
        assert code == 2, told
        assert len(lines) == 1, told
        assert set(here.rglob("*")) == before
        return lines[0]

    return run


LABELS = {
    "names that are not the model's": (["good", "bad"], (), ("the data has 'bad', 'good'", "has 'neg', 'pos'")),
    "ids beyond the model's": ([0, 7], (), ("the data has '0', '7'", "ids from 0 to 1")),
    "none at all": (["", ""], (), ("'label' has no label in any row", "--labels none")),
    "a column that is not there": (["neg", "pos"], ("--labels", "mood"), ("unknown column 'mood'", "label, text")),
    "an evaluator that lacks them": (
        ["neg", "pos"],
        ("--labels", "none", "--evaluator", "accuracy"),
        ("evaluator 'accuracy' needs labels", "--labels COLUMN"),
    ),
    "a group that is not there": (["neg", "pos"], ("--group", "topic"), ("unknown column 'topic'", "label, text")),
}


@pytest.mark.parametrize("row", LABELS)
def test_labels_that_do_not_fit_are_refused(refuses: Any, here: Path, classifier: Path, row: str) -> None:
    labels, options, says = LABELS[row]
    rows = [(text, labels[number % 2]) for number, (text, _) in enumerate(sentences(60, seed=3))]
    write_csv(here / "rows.csv", rows)
    line = refuses(classifier, "--data", "rows.csv", "--sequence", 12, *options)
    for word in says:
        assert word in line, line


@pytest.fixture(scope="session")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny image classifier in a folder, and ``images.safetensors`` with its own answers as labels."""
    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    model = hf.ViTForImageClassification(hf.ViTConfig(image_size=16, patch_size=8, num_labels=4, **SMALL)).eval()
    model.save_pretrained(folder)
    pixels = torch.randn(120, 3, 16, 16)
    with torch.inference_mode():
        labels = model(pixel_values=pixels).logits.argmax(dim=1)
    save_file({"pixel_values": pixels, "labels": labels}, folder / "images.safetensors")
    return folder


def test_an_image_model_is_searched_without_python(vit: Path, cli: Any, here: Path) -> None:
    ran = cli("search", vit, "--data", vit / "images.safetensors", *QUICK)
    assert ran.code == 0, ran.stderr
    assert "quality is accuracy" in ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0].split()[0] == "accuracy"
    assert lines[1].split()[:2] == ["dense", "1.0000"]
    assert "(dense 1.0000)" in next(line for line in lines if line.startswith("test split"))
    assert "--data" in next(line for line in lines if line.startswith("replay"))
    policy = here / "run" / "policy.json"
    assert cli("apply", policy, vit, "--data", vit / "images.safetensors", "-o", "applied", "--threads", 1).code == 0


PIXELS = torch.randn(60, 3, 16, 16, generator=torch.Generator().manual_seed(0))
TENSORS: dict[str, tuple[dict[str, torch.Tensor], tuple[str, ...]]] = {
    "an unknown name": ({"pixels": PIXELS}, ("takes no input 'pixels'", "Did you mean 'pixel_values'", "labels")),
    "rows that differ": ({"pixel_values": PIXELS, "labels": torch.zeros(59)}, ("different numbers of rows", "59")),
    "another shape": ({"pixel_values": PIXELS[:, :1]}, ("does not run on the data", "(9, 1, 16, 16) float32")),
    "no input": ({"labels": torch.zeros(60)}, ("no model input", "pixel_values")),
    "too few rows": ({"pixel_values": PIXELS[:20]}, ("20 distinct rows", "at least 40")),
    "labels beyond the classes": ({"pixel_values": PIXELS, "label": torch.arange(60)}, ("4 classes", "from 0 to 3")),
}


@pytest.mark.parametrize("row", TENSORS)
def test_tensors_that_do_not_fit_are_refused(refuses: Any, here: Path, vit: Path, row: str) -> None:
    tensors, says = TENSORS[row]
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, here / "x.safetensors")
    line = refuses(vit, "--data", "x.safetensors")
    for word in says:
        assert word in line, line


def test_tensors_of_another_number_format_are_refused(refuses: Any, here: Path, classifier: Path) -> None:
    save_file({"input_ids": torch.rand(60, 12)}, here / "x.safetensors")
    line = refuses(classifier, "--data", "x.safetensors", "--sequence", 12)
    assert "does not run on the data (input_ids (9, 12) float32)" in line


def test_tensors_that_are_a_pickle_or_columns_of_tensors_are_refused(refuses: Any, here: Path, vit: Path) -> None:
    torch.save({"pixel_values": PIXELS}, here / "x.safetensors")
    assert "as safetensors" in refuses(vit, "--data", "x.safetensors")
    assert "no column 'text'" in refuses(vit, "--data", "x.safetensors", "--column", "text")
    assert "--data FILE.safetensors" in refuses(vit)
    save_file({"pixls": PIXELS}, here / "x.safetensors")
    assert "no input 'pixls'" in refuses(vit, "--data", "x.safetensors", command="doctor", extra=())
    (here / "policy.json").write_text('{"format_version": 1, "layers": {}}')
    says = refuses("policy.json", vit, "--data", "x.safetensors", "-o", "out", command="apply", extra=())
    assert "no input 'pixls'" in says


def test_labels_that_no_evaluator_reads_are_told(here: Path, vit: Path) -> None:
    save_file({"pixel_values": PIXELS, "labels": torch.rand(60)}, here / "x.safetensors")
    setup = set_up_for(vit, here / "x.safetensors", None)
    assert setup.evaluator.name == "class-fidelity"
    told = next(note for note in setup.notes if note.startswith("labels are given"))
    assert "accuracy does not fit: labels are float32 (rows)" in told


def set_up_for(vit: Path, data: Path, evaluator: Any) -> Any:
    from autocompress.request.request import SearchRequest
    from autocompress.request.setup import check_names, set_up

    request = SearchRequest(model=str(vit), budgets=("75%",), data=str(data), threads=1, evaluator=evaluator)
    return set_up(request, check_names(request), lambda _: None)


def test_labels_arrive_at_a_callable(vit: Path) -> None:
    def hits(run: Any, batches: Any) -> float:
        found = [run(batch).logits.argmax(1) == batch["labels"] for batch in batches]
        return float(torch.cat(found).double().mean())

    setup = set_up_for(vit, vit / "images.safetensors", hits)
    assert setup.evaluator.metric == "hits"
    assert not any(note.startswith("labels are given") for note in setup.notes)


def test_labels_of_a_csv_arrive_at_a_callable(here: Path, classifier: Path) -> None:
    seen: list[torch.Tensor] = []

    def metric(run: Any, batches: Any) -> float:  # noqa: ARG001
        seen.extend(batch["labels"] for batch in batches)
        return 1.0

    data = write_csv(here / "rows.csv", sentences(60, seed=4), "text,mood")
    from autocompress.request.request import SearchRequest
    from autocompress.request.setup import check_names, set_up

    options = {"data": str(data), "labels": "mood", "sequence": 12, "threads": 1, "evaluator": metric}
    request = SearchRequest(model=str(classifier), budgets=("75%",), **options)
    set_up(request, check_names(request), lambda _: None)
    assert {int(label) for label in torch.cat(seen)} == {0, 1}


def test_an_evaluator_that_finds_no_labels_is_refused_before_anything_is_measured(here: Path, vit: Path) -> None:
    save_file({"pixel_values": PIXELS}, here / "x.safetensors")

    def metric(run: Any, batches: Any) -> float:  # noqa: ARG001
        return float(batches[0]["labels"].sum())

    with pytest.raises(UsageError, match=r"evaluator .* cannot score the dense model: .*KeyError: 'labels'.*pixel_v"):
        set_up_for(vit, here / "x.safetensors", metric)
    with pytest.raises(UsageError, match=r"evaluator .* cannot score the dense model: its score is nan"):
        set_up_for(vit, here / "x.safetensors", lambda run, batches: float("nan"))  # noqa: ARG005


def test_a_metric_that_needs_more_rows_than_a_batch_has_is_no_fault(vit: Path) -> None:
    def metric(run: Any, batches: Any) -> float:  # noqa: ARG001
        if len(batches) < 2:
            raise ValueError("too few rows")
        return 1.0

    assert set_up_for(vit, vit / "images.safetensors", metric).evaluator.metric == "metric"


LOADER = """
from pathlib import Path
import torch
from torch import nn
from autocompress.plugin.hooks import hookimpl
from autocompress.contracts.model import LoadedModel

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    def forward(self, signal):
        return self.body(signal)

@hookimpl
def autocompress_load_model(source, task):
    if not source.endswith(".net"):
        return None
    torch.manual_seed(int(Path(source).read_text()))
    net = Net().eval()
    def tensors():
        signal = torch.randn(120, 24, generator=torch.Generator().manual_seed(0))
        return {"signal": signal, "labels": net(signal).argmax(1)}
    return LoadedModel(net, "a name of its own", "classification", default_tensors=tensors)
"""


def test_a_strangers_loader_brings_tensors_and_gets_the_path_in_bench_too(
    cli: Any, run_cli: Any, here: Path, tmp_path: Path, stranger: Callable[[str], dict[str, str]]
) -> None:
    env = stranger(LOADER)
    (here / "some.net").write_text("7")
    options = [str(word).replace("prune", "full") for word in QUICK]
    ran = cli("search", "./some.net", *options, env=env)
    assert ran.code == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0].split()[0] == "accuracy"
    assert lines[1].split()[:2] == ["dense", "1.0000"]
    record = json.loads((here / "run" / "best" / "autocompress.json").read_text())["record"]
    assert record["source"] == str(here / "some.net")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    again = run_cli(elsewhere, "bench", here / "run" / "best", "--sessions", 2, "--json", env=env)
    assert again.code == 0, again.stderr
    assert "ratio.latency" in json.loads(again.stdout)["measurements"]  # beside its dense model
