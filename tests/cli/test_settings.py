"""autocompress.toml: typed values or one line with file, key and line number."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from autocompress.basics.toml_lines import line_of, read_toml
from autocompress.cli.settings import FILE, Settings, read_settings
from autocompress.errors import SpaceError, UsageError

FULL = """# the model of this folder
[search]
model = "./my-model"
budget = [
  "20ms",
  "quality=0.98",
]
data = "reviews.csv"
threads = 2
time = "5m"
"""
NESTED = '''name = "x"
"a.b" = """
[rule]
k = 1
"""
[[rule]]
pattern = "one"
[rule.params]
bits = [
  4, 8]
[[rule]]
pattern = "two"
params = {bits = 4, group = 32}
[other.table]
k = 1
'''


def write(folder: Path, text: str) -> Path:
    (folder / FILE).write_text(text)
    return folder


def test_without_a_file_nothing_is_set(tmp_path: Path) -> None:
    assert read_settings(tmp_path) == Settings()
    assert all(getattr(Settings(), field.name) is None for field in fields(Settings))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    found = read_settings(write(tmp_path, FULL))
    expected = Settings(
        file=tmp_path / FILE,
        model="./my-model",
        budget=("20ms", "quality=0.98"),
        data="reviews.csv",
        threads=2,
        time="5m",
    )
    assert found == expected
    assert read_settings(write(tmp_path, '[search]\nbudget = "70%"\n')).budget == ("70%",)
    assert read_settings(write(tmp_path, "")) == Settings(file=tmp_path / FILE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[search]\n\nbudgets = "1s"\n', r"line 3: unknown key 'budgets'\. Did you mean 'budget'"),
        ('[serach]\nmodel = "x"\n', r"line 1: unknown table 'serach'\. Did you mean 'search'"),
        ("search = 3\n", r"line 1: search is 3 \(integer\): expected a table"),
        ('[search]\nmodel = "x"\nbatch = "4"\n', r"line 3: batch is '4' \(string\): expected a whole number"),
        ("[search]\nseed = true\n", r"line 2: seed is True \(boolean\): expected a whole number"),
        ("[search]\nbatch = 1.5\n", r"line 2: batch is 1\.5 \(float\)"),
        ("[search]\ntime = 60\n", r"line 2: time is 60 \(integer\): expected a string such as \"5m\""),
        ("[search]\nbudget = 20\n", r"line 2: budget is 20 \(integer\): expected a string such as \"20ms\""),
        ("[search]\nbudget = []\n", r"line 2: budget is \[\] \(array\)"),
        ('[search]\nbudget = ["1s", 2]\n', r"line 2: budget is \['1s', 2\] \(array\)"),
        ("[search]\ntrust_remote_code = true\n", r"line 2: unknown key 'trust_remote_code'"),
        ("[search]\nmodel =\n", r"line 2: not valid TOML"),
        ("[search", r"line 1: not valid TOML"),
    ],
)
def test_bad_settings_are_one_line_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read_settings(write(tmp_path, text))
    assert str(tmp_path / FILE) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (("name",), 1),
        (("a.b",), 2),
        (("rule",), 6),
        (("rule", 0, "pattern"), 7),
        (("rule", 0, "params"), 8),
        (("rule", 0, "params", "bits", 1), 9),
        (("rule", 1), 11),
        (("rule", 1, "pattern"), 12),
        (("rule", 1, "params", "group"), 13),
        (("rule", 1, "absent"), 11),
        (("other", "table", "k"), 15),
        (("absent",), 1),
    ],
)
def test_line_of_points_at_the_statement(keys: tuple[str | int, ...], line: int) -> None:
    assert line_of(NESTED, *keys) == line


def test_read_toml_refuses_with_the_error_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"no file .*gone\.toml"):
        read_toml(tmp_path / "gone.toml")
    (tmp_path / "binary.toml").write_bytes(b"a = 1\n\xff")
    with pytest.raises(UsageError, match=r"binary\.toml, line 2: not UTF-8 text at byte 6"):
        read_toml(tmp_path / "binary.toml", UsageError)
    with pytest.raises(SpaceError, match="cannot read"):
        read_toml(tmp_path)
