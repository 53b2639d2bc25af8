"""A measured figure: raw samples per session, a median and an interval; never a bare mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autocompress.basics.schema import shaped
from autocompress.errors import ArtifactError


@dataclass(frozen=True)
class Measurement:
    """Samples of one quantity, in SI units.

    samples   one tuple of raw samples per session; a session is one process.
    median    the median of the session medians.
    low, high a two-sided interval for the true value, session bias included.
    """

    samples: tuple[tuple[float, ...], ...]
    median: float
    low: float
    high: float

    @property
    def sessions(self) -> int:
        return len(self.samples)

    def to_json(self) -> dict[str, Any]:
        return {
            "median": self.median,
            "low": self.low,
            "high": self.high,
            "sessions": self.sessions,
            "samples": [list(session) for session in self.samples],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, where: str = "measurement") -> Measurement:
        """What ``to_json`` wrote. Raises ArtifactError naming what is off."""
        plain = {name: found for name, found in data.items() if name != "sessions"}
        return shaped(cls, plain, where, ArtifactError, remedy="export the artifact again.")

    @classmethod
    def exact(cls, value: float) -> Measurement:
        """A figure without noise, such as a number of bytes."""
        return cls(((value,),), value, value, value)
