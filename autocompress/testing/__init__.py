"""Contract tests for plugins: subclass one, name what it tests, and run pytest.

    from autocompress.testing import TechniqueContract

    class TestMyTechnique(TechniqueContract):
        technique = MyTechnique()

Needs pytest. The layers that a technique is tried on come from `autocompress.testing.groups`.
"""

from __future__ import annotations

from autocompress.testing.evaluators import EvaluatorContract
from autocompress.testing.runtimes import RuntimeContract
from autocompress.testing.techniques import TechniqueContract

__all__ = ["EvaluatorContract", "RuntimeContract", "TechniqueContract"]
