"""The real command line with shorter times: a hang is one after seconds, not minutes, and sessions are short."""

from __future__ import annotations

import sys

from autocompress.basics import patience
from autocompress.sessions import parent as child


def shorten() -> None:
    """Sessions of a fraction of a second; a step of a plugin may take 3 s, a session 40 s."""
    defaults = child.run_session.__kwdefaults__
    defaults |= {"seconds": 0.3, "timeout": 40.0}
    child.LEAST = child.TIMEOUT = 40.0
    patience.LEAST, patience.A_MILLION = 3.0, 0.0


if __name__ == "__main__":
    shorten()
    from autocompress.cli.main import main

    sys.argv[0] = "autocompress"
    main()
