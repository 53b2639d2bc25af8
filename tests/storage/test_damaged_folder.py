"""A run folder that is torn or damaged: a last line cut short is dropped and told, anything else is named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from autocompress.engine.knobs import Knobs
from autocompress.engine.ledger import Ledger
from autocompress.engine.problem import Forecast, Option, Outcome, Problem, Resource, Unit
from autocompress.errors import RunError
from autocompress.storage import cache
from autocompress.storage.folder import RunFolder
from autocompress.storage.journal import RunLock, journal_storage
from autocompress.storage.lines import seal
from autocompress.storage.store import Store

UNITS = tuple(
    Unit(name, "linear", 0.0, tuple(Option(label, (), {"latency": 1.0}, 0.0) for label in "ab")) for name in "xy"
)
PROBLEM = Problem(UNITS, (Resource("latency"),))


def store(path: Path) -> Path:
    one = Store(path)
    for number in range(3):
        one.put(f"kind/context/{number}", {"value": number / 3})
    return path


def test_a_last_line_cut_short_is_dropped_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = store(tmp_path / "measurements.jsonl")
    path.write_bytes(path.read_bytes()[:-5])
    assert len(Store(path)) == 2
    assert "dropped a last line that was cut short" in caplog.text


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "another digit": lambda line: line.replace(b"0.33", b"0.34"),
    "not UTF-8": lambda line: line.replace(b"kind", b"k\xffnd"),
    "not JSON": lambda line: line[:-3],
    "another kind": lambda _line: seal({"key": 3, "value": 1})[:-1],
    "no value": lambda _line: seal({"key": "a"})[:-1],
    "a list": lambda _line: b"[1]",
    "a number without end": lambda _line: b"1" * 5000,
    "deep": lambda _line: b"[" * 100_000,
    "twice": lambda line: b'{"key":"a",' + line[1:],
    "empty": lambda _line: b"",
}


@pytest.mark.parametrize("row", DAMAGES)
def test_a_damaged_line_is_named_with_the_way_out(row: str, tmp_path: Path) -> None:
    path = store(tmp_path / "measurements.jsonl")
    lines = path.read_bytes().split(b"\n")
    lines[1] = DAMAGES[row](lines[1])
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(RunError, match=r"line 2 is damaged .*delete that line or the file") as caught:
        Store(path)
    assert "\n" not in str(caught.value)


def test_nothing_but_a_plain_file_is_written_to(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    (tmp_path / ".lock").symlink_to(mine)
    (tmp_path / "measurements.jsonl").symlink_to(mine)
    os.mkfifo(tmp_path / "journal.log")
    for use in (
        lambda: RunLock(tmp_path),
        lambda: Store(tmp_path / "measurements.jsonl"),
        lambda: journal_storage(tmp_path / "journal.log"),
    ):
        with pytest.raises(RunError, match="is no plain file"):
            use()
    assert mine.read_text() == "mine"


def journal(path: Path) -> Ledger:
    study = optuna.create_study(
        storage=journal_storage(path), directions=["minimize"] * 2, load_if_exists=True, study_name="s"
    )
    return Ledger(PROBLEM, Knobs(("latency",), (), 1), study)


def finished(path: Path, outcome: Outcome) -> None:
    ledger, forecast = journal(path), Forecast({"loss": 0.1}, {"loss": 0.1})
    (asked,) = ledger.ask(1)
    ledger.start(asked, (0, 1), "sweep", forecast)
    ledger.finish(asked, (0, 1), "sweep", outcome, forecast)


def test_a_journal_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    finished(path, Outcome({"loss": 0.1, "latency": 1.0}))
    finished(path, Outcome({}, cause="it broke"))
    done, pending = journal(path).restore()
    assert [trial.cause for trial in done] == [None, "it broke"]
    assert pending == []
    path.write_bytes(path.read_bytes()[:-4])
    assert len(journal(path).restore()[0]) >= 1


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    finished(path, Outcome({"loss": 0.1, "latency": 1.0}))
    path.write_bytes(path.read_bytes().replace(b"0.1", b"0.2", 1))
    with pytest.raises(RunError, match=r"journal\.log, line \d+ is damaged .*measurements\.jsonl"):
        journal(path)
    path.write_bytes(seal({"op_code": 99}))
    with pytest.raises(RunError, match=r"journal\.log is damaged"):
        journal(path)


ATTRS: dict[str, dict[str, Any]] = {
    "a NaN": {"outcome": {"values": {"loss": float("nan"), "latency": 1.0}, "spread": {}, "cause": None, "seconds": 1}},
    "no value": {"outcome": {"values": {"loss": 0.1}, "spread": {}, "cause": None, "seconds": 1}},
    "text": {"outcome": {"values": {"loss": "0.1", "latency": 1.0}, "spread": {}, "cause": None, "seconds": 1}},
    "a list": {"outcome": []},
    "an option that is not there": {"policy": [0, 9]},
    "too few units": {"policy": [0]},
    "no forecast": {"predicted": 3},
}


@pytest.mark.parametrize("row", ATTRS)
def test_a_journal_whose_sums_fit_is_still_checked(row: str, tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    finished(path, Outcome({"loss": 0.1, "latency": 1.0}))
    lines = []
    for line in path.read_bytes().splitlines():
        record = json.loads(line)
        record.pop("sum")
        record.get("user_attr", {}).update({k: v for k, v in ATTRS[row].items() if k in record.get("user_attr", {})})
        lines.append(seal(record))
    path.write_bytes(b"".join(lines))
    with pytest.raises(RunError, match=r"journal\.log: trial 0: .*delete journal\.log"):
        journal(path).restore()


@pytest.mark.parametrize(
    "content", ["[]", "3", "{", '{"format_version": 1}', '{"a": 1, "a": 1}', "\xff", "NaN", "1" * 5000]
)
def test_a_damaged_record_of_the_search_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(RunError, match=r"run\.json.*(give another --out|not UTF-8 text)") as caught:
        RunFolder(tmp_path, {"model": "a"})
    assert "\n" not in str(caught.value)


def test_a_cache_that_others_can_write_to_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    assert cache.open_cache({"abc": "words"}) == {}
    assert "writable for all" in caplog.text
