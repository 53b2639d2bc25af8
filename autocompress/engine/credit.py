"""Which stage proposes next: the one whose trials lately added most, with every stage tried now and then."""

from __future__ import annotations

_LOOP = ("resolve", "tpe", "local")
_EVERY = {"tpe": 10, "local": 12}
"""A stage gets one trial in so many, whatever it has added."""
_HOPE = {"resolve": 1e-2, "tpe": 1e-3, "local": 1e-3}
"""What a stage is expected to add before it has been tried."""
_FORGET = 0.05


class Credit:
    """Running mean of the hypervolume that a trial of each stage added."""

    def __init__(self, stages: frozenset[str]) -> None:
        self._known = [stage for stage in _LOOP if stage in stages] or ["tpe"]
        self._gains: dict[str, float] = {}
        self._step = 0

    def next_stage(self) -> str:
        """The stage whose next trial is expected to add most."""
        self._step += 1
        for stage, every in _EVERY.items():
            if stage in self._known and self._step % every == every - 1:
                return stage
        best = max(self._known, key=self._expected)
        # Gains are noisy: solving the refitted tables again stays the default until another stage does twice as well.
        if "resolve" in self._known and self._expected(best) < 2.0 * self._expected("resolve"):
            return "resolve"
        return best

    def add(self, stage: str, gain: float) -> None:
        """One more trial of a stage."""
        before = self._gains.get(stage, _HOPE.get(stage, 0.0))
        self._gains[stage] = before + _FORGET * (gain - before)

    def _expected(self, stage: str) -> float:
        return self._gains.get(stage, _HOPE[stage])
