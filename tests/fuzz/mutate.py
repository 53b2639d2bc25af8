"""Mutations of a file: of its bytes, of the document in it, and of the header of a safetensors file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

TOKENS = (
    *(b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r\n", b"\x1b[31m", b"\xc3", b"\\ud800", b"\\u0000", b"\n\n\n"),
    *(b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"-1", b"0", b"null", b"true", b'""', b'"', b",", b":", b"#"),
    *(b"[" * 3000, b"]" * 50, b"{" * 50, b"}", b"[]", b"{}", b"= [[[[", b"../../etc/passwd", b"\\", b"'''"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 10**6, 10**9, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308),
    *("", "a", "0", "../x", "/etc/passwd", "\x1b[31m", "\x00", "\u202e", "a" * 10_000, "é", "NaN"),
    *([], {}, [1], ["a"], {"a": 1}, [[[]]], [None], {"": {}}, {"a": {"b": {"c": []}}}),
)


@st.composite
def of_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """One to four cuts, insertions, repetitions and flips."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        size = len(data)
        at, to = (sorted(draw(st.tuples(st.integers(0, size), st.integers(0, size))))) if size else (0, 0)
        kind = draw(st.sampled_from(("flip", "insert", "cut", "truncate", "repeat", "replace", "random")))
        if kind == "flip" and size:
            data[min(at, size - 1)] ^= draw(st.integers(1, 255))
        elif kind == "insert":
            data[at:at] = draw(st.sampled_from(TOKENS))
        elif kind == "cut":
            del data[at : min(to, at + 40)]
        elif kind == "truncate":
            del data[at:]
        elif kind == "repeat":
            data[at:at] = data[at : min(to, at + 200)]
        elif kind == "replace":
            data[at : min(to, at + 8)] = draw(st.sampled_from(TOKENS))
        else:
            data[at:at] = draw(st.binary(max_size=12))
    return bytes(data)


@st.composite
def of_document(draw: st.DrawFn, document: Any) -> Any:
    """One to three values replaced, removed, renamed or doubled, anywhere in a JSON document."""
    found = [deepcopy(document)]
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(found))
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        kind = draw(st.sampled_from(("replace", "replace", "replace", "remove", "rename", "double")))
        if kind == "replace" or holder is found:
            holder[key] = deepcopy(draw(st.sampled_from(VALUES)))
        elif kind == "remove":
            del holder[key]
        elif kind == "rename" and isinstance(holder, dict):
            holder[draw(st.sampled_from(("", "a", "__class__", "auto_map", f"{key}s", "\x1b")))] = holder.pop(key)
        elif isinstance(holder, list):
            holder.insert(key, deepcopy(holder[key]))
    return found[0]


def json_file(content: bytes) -> st.SearchStrategy[bytes]:
    """A JSON file, broken as bytes or as a document."""
    documents = of_document(json.loads(content)).map(lambda found: json.dumps(found).encode())
    return st.one_of(of_bytes(content), documents)


def json_lines(content: bytes, seal: Callable[[Any], bytes]) -> st.SearchStrategy[bytes]:
    """A file of JSON lines; ``seal`` writes a line, so that a changed document has a check sum that fits."""
    lines = content.splitlines(keepends=True)

    def changed(index: int) -> st.SearchStrategy[bytes]:
        document = json.loads(lines[index])
        return of_document(document).map(lambda found: b"".join([*lines[:index], seal(found), *lines[index + 1 :]]))

    return st.one_of(of_bytes(content), st.integers(0, len(lines) - 1).flatmap(changed))


def toml_file(content: bytes) -> st.SearchStrategy[bytes]:
    """A TOML file, broken as bytes or with a value replaced by another of TOML's."""
    values = (
        '""',
        '"a"',
        "0",
        "-1",
        "1.5",
        "nan",
        "inf",
        "9" * 40,
        "true",
        "[]",
        "[[1]]",
        "{}",
        "{ a = 1 }",
        "1979-05-27",
    )
    lines = content.decode().splitlines()
    assert tomllib.loads(content.decode())

    def changed(pair: tuple[int, str]) -> bytes:
        index, value = pair
        name, mark, _ = lines[index].partition("=")
        line = f"{name}= {value}" if mark else value
        return "\n".join([*lines[:index], line, *lines[index + 1 :]]).encode()

    pairs = st.tuples(st.integers(0, len(lines) - 1), st.sampled_from(values))
    return st.one_of(of_bytes(content), pairs.map(changed))


def safetensors_file(content: bytes) -> st.SearchStrategy[bytes]:
    """A safetensors file, broken as bytes or in its header: shapes, types, overlapping and distant offsets."""
    size = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]

    def whole(found: Any) -> bytes:
        text = json.dumps(found).encode()
        return len(text).to_bytes(8, "little") + text + data

    return st.one_of(of_bytes(content), of_document(header).map(whole))


def _places(document: Any) -> Any:
    """Every container and key in it, without recursion."""
    waiting = [document]
    while waiting:
        holder = waiting.pop()
        for key, value in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            yield holder, key
            if isinstance(value, dict | list):
                waiting.append(value)
