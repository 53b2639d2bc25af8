"""The machine's description: honest about cores, steady over time, clear when a device is not there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from autocompress.core.target import Target
from autocompress.errors import UsageError
from autocompress.measure import machine
from autocompress.measure.isa import ISA


def test_threads_are_at_least_one_and_at_most_the_processors() -> None:
    assert 1 <= machine.available_threads() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"a/b/cpu.max": "150000 100000", "a/cpu.max": "max 100000"}, 1.5),
        ({"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000"}, 0.5),
        ({"a/b/cpu.max": "max 100000"}, None),
        ({}, None),
    ],
)
def test_the_tightest_cgroup_counts(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    for name, text in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "cgroup").write_text("0::/a/b\n")
    assert machine._cgroup_quota(tmp_path / "cgroup", tmp_path / "root") == quota


def test_version_one_cgroups_are_read_too(tmp_path: Path) -> None:
    folder = tmp_path / "root" / "cpu" / "docker"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("200000")
    (folder / "cpu.cfs_period_us").write_text("100000")
    (tmp_path / "cgroup").write_text("4:memory:/docker\n3:cpu,cpuacct:/docker\n")
    assert machine._cgroup_quota(tmp_path / "cgroup", tmp_path / "root") == 2.0


def test_a_quota_below_one_still_gives_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_cgroup_quota", lambda *_: 0.5)
    assert machine.available_threads() == 1


def test_the_fingerprint_is_json_and_does_not_change() -> None:
    first, second = machine.fingerprint("cpu"), machine.fingerprint("cpu")
    assert json.loads(json.dumps(first)) == second
    assert first["flags"] == sorted(first["flags"])
    assert {"torch", "transformers", "autocompress", "python"} <= set(first["versions"])


def test_detect_target_takes_what_is_given() -> None:
    target = machine.detect_target("cpu", "torch", batch=4, sequence=16, threads=1)
    assert (target.device, target.batch, target.sequence, target.threads) == ("cpu", 4, 16, 1)
    assert target.flags == frozenset(machine.cpu_flags())


def test_flags_are_those_that_onednn_is_let_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_cpuinfo", lambda: "flags\t: fpu avx2 avx512f avx512_vnni avx512_bf16 amx_int8")
    for name in ISA:
        monkeypatch.delenv(name, raising=False)
    assert machine.cpu_flags() == ["amx_int8", "avx2", "avx512_bf16", "avx512_vnni", "avx512f"]
    before = machine.fingerprint("cpu")
    monkeypatch.setenv("DNNL_MAX_CPU_ISA", "AVX512_CORE_VNNI")
    assert machine.cpu_flags() == ["avx2", "avx512_vnni", "avx512f"]
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")  # the newer name comes first, as in oneDNN
    assert machine.cpu_flags() == ["avx2", "avx512f"]
    assert machine.fingerprint("cpu")["isa"] != before["isa"], "figures made under a limit are others"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "ALL")
    assert machine.cpu_flags() == before["flags"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_an_absent_card_is_one_clear_line() -> None:
    with pytest.raises(UsageError, match=r"'cuda' is not here .*; there is: cpu"):
        machine.detect_target("cuda")
    assert machine.detect_target("auto").device == "cpu"


@pytest.mark.parametrize("wrong", [{"device": "tpu"}, {"batch": 0}, {"threads": 0}, {"sequence": -1}])
def test_bad_targets_are_refused(wrong: dict[str, int | str]) -> None:
    with pytest.raises(UsageError, match="expected"):
        machine.detect_target(**{"device": "cpu", **wrong})


def test_idle_threads_sleep() -> None:
    assert machine.environment(Target(threads=3)) | {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "3"} == (
        machine.environment(Target(threads=3))
    )


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_card_has_a_fingerprint() -> None:
    found = machine.fingerprint("cuda")
    assert found["gpu"]
    assert found["gpu_memory"] > 0
    assert "cuda" in found["flags"]
    assert machine.detect_target("auto").device == "cuda"
