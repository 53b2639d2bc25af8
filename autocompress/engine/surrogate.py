"""What finished trials say about the loss tables: a Gaussian regression around them, in relative units.

(loss(x) - tables(x)) / sizes(x), where sizes are what the tables say without its sign, is modelled as a sum of small
corrections with Gaussian priors: one per (unit, technique), one per technique, cross terms within a unit and between
neighbours of the form sqrt(d_i d_j) (the magnitude of a second-order term, as in CLADO, arXiv:2307.05657), and a global
curvature. Prior scales are chosen by marginal likelihood, so a problem that is additive keeps its tables. With N trials
a fit costs O(N^3), whatever L is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from autocompress.engine.scale import compress
from autocompress.engine.tables import Floats, Ints, Tables

GROUPS = ("own", "technique", "within", "within_all", "pair", "pair_all", "pair_techniques", "curvature")
_START = (0.15, 0.15, 0.1, 0.3, 0.1, 0.3, 0.1, 0.1)
_SCALES = (0.03, 0.1, 0.3, 1.0)
_MISFITS = (0.01, 0.03, 0.1, 0.3)
_FLOOR = 0.05
_GAIN = 2.0
_CHOOSE_ON = 160
_CHOOSE_AFTER = 1.15


@dataclass(frozen=True)
class Features:
    """Corrections that a set of policies switches on, divided by the tables' `base` (N,); `tabled` is their loss."""

    base: Floats
    tabled: Floats
    groups: tuple[Floats, ...]
    roots: Floats


@dataclass(frozen=True)
class Fit:
    """Refitted tables: `unary` (L, O), neighbour couplings `pair` (L-1,) and `bilinear` (L-1, T, T)."""

    unary: Floats
    pair: Floats
    bilinear: Floats
    curvature: float
    center: float
    scales: tuple[float, ...]
    misfit: float
    error: float
    weights: tuple[Floats, ...] = field(repr=False, default=())


class Surrogate:
    """Learns from (policy, loss) pairs; predicts the loss of others and hands refitted tables to the allocator."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.sizes = np.abs(tables.parts)
        self.root = np.sqrt(self.sizes)
        self.tabled = tables.parts.sum(axis=2)
        self.total = self.sizes.sum(axis=2)
        self.root_total = np.sqrt(self.total)
        # sum over t < t' of sqrt(d_t d_t')
        self.cross = 0.5 * (self.root.sum(axis=2) ** 2 - self.total)
        positive = self.total[self.total > 0]
        # Gains are believed where the tables or a trial show one, up to twice the largest; else a loss stays a loss.
        self._least = _FLOOR if np.all(tables.parts >= 0) else -_GAIN
        self.tiny = 1e-6 * float(positive.max()) if positive.size else 1e-12
        self.policies = np.zeros((0, tables.n_units), dtype=np.int64)
        self.losses = np.zeros(0)
        self.spreads = np.zeros(0)
        self._rows: Features | None = None
        self._kernels: list[Floats] = []
        self._scales = list(_START)
        self._misfit = 0.03
        self._factor: tuple[Floats, bool] | None = None
        self._chosen_at = 0
        self.center = 0.0
        self.fit = self._prior()

    def _prior(self) -> Fit:
        steps, n_parts = max(0, self.tables.n_units - 1), self.root.shape[2]
        unary = np.where(self.tables.valid, self.tabled, np.inf)
        return Fit(unary, np.zeros(steps), np.zeros((steps, n_parts, n_parts)), 0.0, 0.0, tuple(_START), 0.03, np.nan)

    def features(self, policies: Ints) -> Features:
        """Features of `policies` (C, L)."""
        pick = self.tables.pick
        base = np.maximum(pick(self.total, policies).sum(axis=1), self.tiny)
        inverse = 1.0 / base[:, None]
        parts = pick(self.sizes, policies) * inverse[:, :, None]
        roots = pick(self.root, policies) * np.sqrt(inverse)[:, :, None]
        within = pick(self.cross, policies) * inverse
        totals = pick(self.root_total, policies)
        pair = totals[:, 1:] * totals[:, :-1] * inverse
        groups = (
            parts.reshape(len(policies), -1),
            parts.sum(axis=1),
            within,
            within.sum(axis=1, keepdims=True),
            pair,
            pair.sum(axis=1, keepdims=True),
            np.zeros((len(policies), 0)),
            (np.log(base) - self.center)[:, None],
        )
        return Features(base, pick(self.tabled, policies).sum(axis=1), groups, roots)

    def _kernel(self, group: int, a: Features, b: Features) -> Floats:
        if GROUPS[group] == "pair_techniques":
            n_a, n_b = len(a.base), len(b.base)
            out = np.zeros((n_a, n_b))
            if a.roots.shape[1] > 1:
                # (u_l . u'_l)(u_{l+1} . u'_{l+1}) summed over l, without building the T x T products.
                for i in range(n_a):
                    dots = np.einsum("lt,nlt->nl", a.roots[i], b.roots)
                    out[i] = (dots[:, 1:] * dots[:, :-1]).sum(axis=1)
            return out
        return np.asarray(a.groups[group] @ b.groups[group].T)

    def add(self, policies: Ints, losses: Floats, spreads: Floats) -> None:
        """Append trials: `policies` (N, L), `losses` (N,), absolute standard errors `spreads` (N,)."""
        if len(policies) == 0:
            return
        if self._rows is None:
            self.center = float(
                np.median(np.log(np.maximum(self.tables.pick(self.total, policies).sum(axis=1), self.tiny)))
            )
        new = self.features(policies)
        # A policy that changes nothing teaches nothing: its loss is what measuring twice differs by.
        losses = np.where(self.tables.pick(self.total, policies).sum(axis=1) > 0, losses, 0.0)
        old = self._rows
        if old is None:
            self._rows = new
            self._kernels = [self._kernel(g, new, new) for g in range(len(GROUPS))]
        else:
            rows = Features(
                np.concatenate([old.base, new.base]),
                np.concatenate([old.tabled, new.tabled]),
                tuple(np.vstack([a, b]) for a, b in zip(old.groups, new.groups, strict=True)),
                np.concatenate([old.roots, new.roots]),
            )
            for g, kernel in enumerate(self._kernels):
                cross, square = self._kernel(g, new, old), self._kernel(g, new, new)
                self._kernels[g] = np.block([[kernel, cross.T], [cross, square]])
            self._rows = rows
        self.policies = np.vstack([self.policies, policies])
        self.losses = np.concatenate([self.losses, losses])
        self.spreads = np.concatenate([self.spreads, spreads])
        gain = float((losses / np.maximum(new.base, 1e-2 * self._rows.base.max())).min())
        if gain < 0:
            self._least = min(self._least, _GAIN * gain)

    def refit(self) -> Fit:
        """Posterior mean of the corrections; prior scales are chosen anew whenever the trials grew by 15 %."""
        if self._rows is None or len(self.losses) < 3:
            return self.fit
        target = (self.losses - self._rows.tabled) / self._rows.base
        noise, sizes = (self.spreads / self._rows.base) ** 2, np.abs(self.losses) / self._rows.base
        if len(target) >= _CHOOSE_AFTER * self._chosen_at:
            self._choose(target, noise, sizes)
        covariance = self._covariance(self._scales, self._misfit, noise, sizes)
        self._factor = cho_factor(covariance, lower=True)
        alpha = cho_solve(self._factor, target)
        self.fit = self._posterior(alpha)
        return self.fit

    def _covariance(self, scales: list[float], misfit: float, noise: Floats, sizes: Floats) -> Floats:
        total = sum(scale**2 * kernel for scale, kernel in zip(scales, self._kernels, strict=True))
        covariance = np.array(total)
        # Misfit is relative to the loss itself, not to the tables' guess of it.
        covariance[np.diag_indices_from(covariance)] += noise + (misfit * np.maximum(sizes, 0.1)) ** 2 + 1e-10
        return covariance

    def _evidence(self, scales: list[float], misfit: float, target: Floats, noise: Floats, sizes: Floats) -> float:
        lower = np.linalg.cholesky(self._covariance(scales, misfit, noise, sizes))
        white = solve_triangular(lower, target, lower=True, check_finite=False)
        # A weak pull to the starting scales keeps a handful of trials from switching terms on or off.
        pull = sum((np.log(s / s0)) ** 2 for s, s0 in zip(scales, _START, strict=True))
        return float(-0.5 * white @ white - np.log(np.diag(lower)).sum() - 0.1 * pull)

    def _choose(self, target: Floats, noise: Floats, sizes: Floats) -> None:
        """Coordinate search over the scales; on an even subset of at most 160 trials, since each step costs O(N^3)."""
        rows = np.unique(np.linspace(0, len(target) - 1, min(len(target), _CHOOSE_ON)).astype(int))
        self._chosen_at = len(target)
        target, noise, sizes = target[rows], noise[rows], sizes[rows]
        kernels, self._kernels = self._kernels, [kernel[np.ix_(rows, rows)] for kernel in self._kernels]
        try:
            self._ascend(target, noise, sizes)
        finally:
            self._kernels = kernels

    def _ascend(self, target: Floats, noise: Floats, sizes: Floats) -> None:
        best = self._evidence(self._scales, self._misfit, target, noise, sizes)
        for _ in range(2 if self._chosen_at < 40 else 1):
            for misfit in _beside(self._misfit, _MISFITS):
                score = self._evidence(self._scales, misfit, target, noise, sizes)
                if score > best:
                    best, self._misfit = score, misfit
            for g in range(len(GROUPS)):
                for scale in _beside(self._scales[g], _SCALES):
                    trial = [*self._scales[:g], scale, *self._scales[g + 1 :]]
                    score = self._evidence(trial, self._misfit, target, noise, sizes)
                    if score > best:
                        best, self._scales = score, trial

    def _posterior(self, alpha: Floats) -> Fit:
        rows, tables = self._rows, self.tables
        assert rows is not None
        weights = [scale**2 * (group.T @ alpha) for scale, group in zip(self._scales, rows.groups, strict=True)]
        own = weights[0].reshape(tables.n_units, -1) + weights[1]
        within = weights[2] + weights[3]
        unary = self.tabled + (self.sizes * own[:, None, :]).sum(axis=2) + self.cross * within[:, None]
        unary = np.where(tables.valid, np.maximum(unary, self._least * self.total), np.inf)
        scaled = rows.roots[:, :-1] * (alpha * self._scales[6] ** 2)[:, None, None]
        bilinear = np.einsum("nls,nlt->lst", scaled, rows.roots[:, 1:], optimize=True)
        fit = Fit(
            unary=unary,
            pair=weights[4] + weights[5] if tables.n_units > 1 else np.zeros(0),
            bilinear=bilinear,
            curvature=float(weights[7][0]),
            center=self.center,
            scales=tuple(self._scales),
            misfit=self._misfit,
            error=np.nan,
            weights=tuple(weights),
        )
        recent = slice(-_CHOOSE_ON, None)
        predicted = compress(self.predict(self.policies[recent], fit), self.tiny)
        misses = predicted - compress(self.losses[recent], self.tiny)
        error = float(np.sqrt(np.mean(misses**2)))
        return Fit(**{**fit.__dict__, "error": error})

    def predict(self, policies: Ints, fit: Fit | None = None) -> Floats:
        """Predicted loss of `policies` (C, L): (C,)."""
        fit = fit or self.fit
        pick = self.tables.pick
        base = pick(self.total, policies).sum(axis=1)
        loss = pick(fit.unary, policies).sum(axis=1)
        if self.tables.n_units > 1:
            totals = pick(self.root_total, policies)
            loss = loss + (totals[:, 1:] * totals[:, :-1]) @ fit.pair
            roots = pick(self.root, policies)
            mixed = np.einsum("cls,lst->clt", roots[:, :-1], fit.bilinear, optimize=True)
            loss = loss + (mixed * roots[:, 1:]).sum(axis=(1, 2))
        loss = loss + base * fit.curvature * (np.log(np.maximum(base, self.tiny)) - fit.center)
        return np.asarray(np.maximum(loss, self._least * base))

    def uncertainty(self, policies: Ints) -> Floats:
        """Relative standard deviation of the predictions for `policies` (C, L): (C,)."""
        rows = self.features(policies)
        prior = np.zeros(len(policies))
        for g, scale in enumerate(self._scales):
            if GROUPS[g] == "pair_techniques":
                squares = (rows.roots**2).sum(axis=2)
                prior += scale**2 * (squares[:, 1:] * squares[:, :-1]).sum(axis=1)
            else:
                prior += scale**2 * (rows.groups[g] ** 2).sum(axis=1)
        if self._factor is None or self._rows is None:
            return np.asarray(np.sqrt(prior))
        cross = sum(s**2 * self._kernel(g, rows, self._rows) for g, s in enumerate(self._scales))
        solved = cho_solve(self._factor, np.asarray(cross).T)
        return np.asarray(np.sqrt(np.maximum(prior - (np.asarray(cross).T * solved).sum(axis=0), 1e-8)))

    def linearised(self, policy: Ints, fit: Fit | None = None) -> Floats:
        """Damage (L, O) of changing one unit of `policy` (L,) at a time: own terms plus couplings to its neighbours."""
        fit = fit or self.fit
        effective = fit.unary.copy()
        if self.tables.n_units == 1:
            return effective
        rows = np.arange(self.tables.n_units)
        totals, roots = self.root_total[rows, policy], self.root[rows, policy]
        effective[1:] += self.root_total[1:] * (fit.pair * totals[:-1])[:, None]
        effective[:-1] += self.root_total[:-1] * (fit.pair * totals[1:])[:, None]
        effective[1:] += np.einsum("lot,lt->lo", self.root[1:], np.einsum("ls,lst->lt", roots[:-1], fit.bilinear))
        effective[:-1] += np.einsum("los,ls->lo", self.root[:-1], np.einsum("lst,lt->ls", fit.bilinear, roots[1:]))
        return np.asarray(np.where(self.tables.valid, effective, np.inf))


def _beside(value: float, ladder: tuple[float, ...]) -> list[float]:
    """The next rung below and above `value`."""
    below = [rung for rung in ladder if rung < value * 0.99]
    above = [rung for rung in ladder if rung > value * 1.01]
    return [*below[-1:], *above[:1]]
