"""One measurement at a time, and a killed holder never blocks the next."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autocompress.errors import RunError
from autocompress.measure import lock

HOLD = """
import sys, time
from autocompress.measure.lock import device_lock
with device_lock("cpu"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX locks")
def test_another_process_waits_says_so_and_goes_on_after_a_kill(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.1)
    holder = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    killed: list[str] = []

    class Kill(logging.Handler):
        """Ends the holder once somebody says that it waits."""

        def emit(self, record: logging.LogRecord) -> None:
            if not killed:
                killed.append(record.getMessage())
                holder.send_signal(signal.SIGKILL)

    handler = Kill()
    lock.logger.addHandler(handler)
    try:
        with caplog.at_level(logging.INFO), lock.device_lock("cpu"):
            assert killed == ["waiting for another autocompress process that is measuring on cpu"]
            assert holder.wait(timeout=60) == -signal.SIGKILL
    finally:
        lock.logger.removeHandler(handler)
        holder.kill()


def test_it_is_re_entrant_and_devices_do_not_block_each_other() -> None:
    with lock.device_lock("cpu"), lock.device_lock("cpu"), lock.device_lock("cuda"):
        pass
    with lock.device_lock("cpu"):
        pass


def test_a_lock_that_cannot_be_opened_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lock, "lock_file", lambda device: tmp_path / "absent" / device)
    with pytest.raises(RunError, match="set TMPDIR"), lock.device_lock("cpu"):
        pass
