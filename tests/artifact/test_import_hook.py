"""`import autocompress` is light, and yet Transformers knows our artifacts, whichever was imported first."""

from __future__ import annotations

import subprocess
import sys

import pytest

KNOWN = """from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING as m; assert 'autocompress' in m, sorted(m)
import transformers.quantizers.auto as auto; assert type(auto.__spec__.loader).__name__ == 'SourceFileLoader'"""

GONE = "import sys; assert not any(type(finder).__name__ == '_Finder' for finder in sys.meta_path)"


@pytest.mark.parametrize(
    "before",
    [
        "import autocompress; import sys; assert not {'torch', 'transformers'} & set(sys.modules)",
        "import transformers.quantizers.auto; import autocompress",
        "import autocompress.artifact.transformers_loader",
    ],
)
def test_registration_in_any_order(before: str) -> None:
    again = "from autocompress.artifact.import_hook import install; install(); install()"
    code = f"{before}\n{KNOWN}\n{again}\n{GONE}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
