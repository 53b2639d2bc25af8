"""Contract tests do not depend on what the project around them has set, and leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autocompress.basics.process_state import clean_state


class CleanState:
    """Each test runs in the process state that a search gives to plugins: fp32, CPU, gradients on, seeded."""

    @pytest.fixture(autouse=True)
    def _clean_state(self) -> Iterator[None]:
        with clean_state():
            yield
