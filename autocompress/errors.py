"""Every error that autocompress raises on purpose; each message says what was given, what was expected, what to do.

AutocompressError
├── UsageError            the caller's input cannot be used (exit code 2)
│   ├── BudgetError       a budget that cannot be read, or that contradicts another
│   ├── SpaceError        a search space file or pattern
│   ├── ModelError        a model that cannot be loaded
│   ├── DataError         data that cannot be read or is too small
│   ├── PolicyError       a policy that does not fit the model
│   ├── ArtifactError     a saved artifact that is damaged or of another kind
│   ├── RunError          a run folder that belongs to another search
│   └── PluginError       a plugin that fails to import or breaks its contract
├── DiskFullError         no room to write (exit code 1); the same command goes on once there is
├── NothingRunsError      no option or no trial of a search runs; the causes are in the message (exit code 3)
└── TrialError            this point of the search fails; the search goes on
"""

from __future__ import annotations

import re

_ENDLESS = re.compile(r"\S{500,}")


class AutocompressError(Exception):
    """Root of all errors raised on purpose. Whatever was given, the message stays readable: endless words are cut."""

    exit_code = 1

    def __str__(self) -> str:
        return _ENDLESS.sub(lambda word: f"{word[0][:100]}...{word[0][-50:]}", super().__str__())


class UsageError(AutocompressError):
    """The caller's input cannot be used; the message is one line that says how to mend it."""

    exit_code = 2


class BudgetError(UsageError):
    """A budget that cannot be read, is not positive, or contradicts another one."""


class SpaceError(UsageError):
    """A search space that cannot be read or that matches nothing."""


class ModelError(UsageError):
    """A model that cannot be found, loaded or traced."""


class DataError(UsageError):
    """Data that cannot be read, or fewer rows than the splits need."""


class PolicyError(UsageError):
    """A policy whose layers or parameters do not fit the model."""


class ArtifactError(UsageError):
    """A saved artifact that is damaged, incomplete or of an unknown format."""


class RunError(UsageError):
    """A run folder that belongs to another model, target or budget, or cannot be written."""


class PluginError(UsageError):
    """A plugin that fails to import, misspells a hook or takes a name that is already taken."""


class DiskFullError(AutocompressError):
    """There is no room to write what was found; what was written before is whole."""


class NothingRunsError(AutocompressError):
    """Nothing that the search space offers runs on this model: no policy can keep the budget."""

    exit_code = 3


class TrialError(AutocompressError):
    """This one policy cannot be built, run or scored; it is recorded and the search goes on."""


def cause_of(error: BaseException) -> str:
    """The cause that an option or a trial is dropped for: one line, with the class of an error that is not ours."""
    words = str(error) if isinstance(error, AutocompressError) else f"{type(error).__name__}: {error}"
    return (words or type(error).__name__).splitlines()[0]
