"""``make test-cpu``: the tests that depend on kernels, once for every instruction set that this CPU can be held to."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from autocompress.measure.isa import ISA
from autocompress.measure.machine import cpu_flags

ROOT = Path(__file__).parents[1]
TESTS = (
    "tests/plugins/test_quantization.py",
    "tests/plugins/test_contracts.py::TestInt8",
    "tests/plugins/test_contracts.py::TestInt8EmbeddingRows",
    "tests/plugins/test_contracts.py::TestCastOnCpu",
    "tests/plugins/test_pruning.py",
    "tests/plugins/test_lowrank.py",
    "tests/compress/test_statistics.py",
    "tests/structure/test_replay.py",
)
"""What multiplies: the kernels, what is rounded for them, and what is equal to the last bit or nearly."""


class Held(NamedTuple):
    """One way to hold torch's libraries to an instruction set; without the flag ``needs`` it is no path of its own."""

    name: str
    variables: dict[str, str]
    needs: str = ""


PATHS = (
    Held("nothing held", {}),
    Held("ATen without vectors", {"ATEN_CPU_CAPABILITY": "default"}),
    Held("oneDNN SSE4.1", {"DNNL_MAX_CPU_ISA": "SSE41"}),
    Held(
        "ATen, fbgemm, oneDNN AVX2",
        {"ATEN_CPU_CAPABILITY": "avx2", "FBGEMM_ENABLE_INSTRUCTIONS": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2"},
        "avx2",
    ),
    Held("oneDNN AVX2 with VNNI", {"DNNL_MAX_CPU_ISA": "AVX2_VNNI"}, "avx_vnni"),
    Held(
        "fbgemm, oneDNN AVX-512 without VNNI",
        {"FBGEMM_ENABLE_INSTRUCTIONS": "AVX512", "DNNL_MAX_CPU_ISA": "AVX512_CORE"},
        "avx512f",
    ),
    Held("oneDNN AVX-512 with VNNI", {"DNNL_MAX_CPU_ISA": "AVX512_CORE_VNNI"}, "avx512_vnni"),
    Held("oneDNN AVX-512 with bf16", {"DNNL_MAX_CPU_ISA": "AVX512_CORE_BF16"}, "avx512_bf16"),
    Held("oneDNN AMX", {"DNNL_MAX_CPU_ISA": "AVX512_CORE_AMX"}, "amx_int8"),
)


def main() -> int:
    """Print one row a path; 1 when a test failed on any."""
    for name in ISA:
        os.environ.pop(name, None)
    flags, failures = set(cpu_flags()), 0
    print(f"{'path':38}{'passed':>8}{'failed':>8}{'skipped':>9}")
    for path in PATHS:
        if path.needs and path.needs not in flags:
            print(f"{path.name:38}  not on this CPU (no {path.needs})")
            continue
        passed, failed, skipped = _run(path.variables)
        failures += failed
        print(f"{path.name:38}{passed:8}{failed:8}{skipped:9}", flush=True)
    return int(failures > 0)


def _run(variables: dict[str, str]) -> tuple[int, int, int]:
    """Passed, failed and skipped tests under these variables; what failed goes to stderr."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", *TESTS, f"--junitxml={report}"]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, check=False
        )
        if not report.is_file():
            raise SystemExit(f"pytest did not finish under {variables}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
        counted = ElementTree.parse(report).getroot().find("testsuite")
    if done.returncode:
        print(done.stdout[-8000:], file=sys.stderr)
    assert counted is not None
    tests, *lost = (int(counted.get(name, 0)) for name in ("tests", "failures", "errors", "skipped"))
    return tests - sum(lost), lost[0] + lost[1] or int(done.returncode != 0), lost[2]


if __name__ == "__main__":
    sys.exit(main())
