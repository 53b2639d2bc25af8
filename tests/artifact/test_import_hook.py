"""`import autocompress` is light, and yet Transformers knows our artifacts, whichever was imported first."""

from __future__ import annotations

import subprocess
import sys

import pytest

KNOWN = "from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING as m; assert 'autocompress' in m, sorted(m)"


@pytest.mark.parametrize(
    "before",
    [
        "import autocompress; import sys; assert not {'torch', 'transformers'} & set(sys.modules)",
        "import transformers; import autocompress",
        "import transformers.quantizers.auto; import autocompress",
        "import autocompress; import autocompress.artifact.transformers_loader",
        "import autocompress.artifact.transformers_loader",
        "import autocompress; from autocompress.artifact.import_hook import install; install(); install()",
    ],
)
def test_registration_in_any_order(before: str) -> None:
    code = f"{before}\n{KNOWN}\nimport sys\nassert not any(type(f).__name__ == '_Finder' for f in sys.meta_path)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_module_keeps_its_own_loader() -> None:
    code = "import autocompress, transformers.quantizers.auto as m; print(type(m.__spec__.loader).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "SourceFileLoader\n"
