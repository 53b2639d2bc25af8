"""Tables, lines, files and plots from a finished search; pure functions over plain results."""

from autocompress.report.files import write_run
from autocompress.report.policy_words import policy_words

__all__ = ["policy_words", "write_run"]
