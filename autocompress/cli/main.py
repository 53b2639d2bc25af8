"""The entry point: prepares the process, then hands over to the commands; imports no torch."""

from __future__ import annotations

import os
import signal
import sys

from autocompress.basics.current_folder import leave_current_folder


def main() -> None:
    """Run the command line and exit with its code."""
    leave_current_folder()
    prepare()
    from autocompress.cli.app import app
    from autocompress.cli.errors import Terminated, run

    def stop(_number: int, _frame: object) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, stop)
    sys.exit(run(app, sys.argv[1:]))


def prepare() -> None:
    """Settings that must stand before torch or transformers are imported, here and in every child process."""
    from autocompress.measure.machine import prepare_environment

    prepare_environment()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Bars and notices of the libraries would tear the live display apart; a user may ask for them.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


if __name__ == "__main__":
    main()
