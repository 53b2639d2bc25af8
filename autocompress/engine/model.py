"""What the engine believes: predicted objectives of any policy, and the best policy for a set of targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from autocompress.engine import resources as fits
from autocompress.engine.allocator import solve as allocate
from autocompress.engine.knobs import Knobs
from autocompress.engine.problem import LOSS, Assignment, Forecast, Problem, Resource
from autocompress.engine.scale import compress
from autocompress.engine.surrogate import Surrogate
from autocompress.engine.tables import Floats, Ints, Tables, as_array, build_tables

_COUPLED_ROUNDS = 2
_PARITY_ROUNDS = 4
_MANY = 200


class Model:
    """Refitted tables of one problem: loss surrogate, resource lines and ridge lines for custom objectives."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.tables: Tables = build_tables(problem)
        self.surrogate = Surrogate(self.tables)
        self.fitted = {resource.name: fits.unfitted(self.tables, resource) for resource in problem.resources}
        self._custom: dict[str, Floats] = {}
        self._between = 0.0
        named = dict.fromkeys([*problem.objectives, *(limit.name for limit in problem.limits)])
        self.names = tuple(named)
        swept = [name for name in problem.objectives if name in self.resources]
        swept = swept or [name for name in self.names if name in self.resources] or list(self.resources)
        self.swept = tuple(swept)
        self.capped = tuple(dict.fromkeys([*swept, *(name for name in self.names if name in self.resources)]))
        self._custom_scale: tuple[Floats, Floats] | None = None

    @property
    def known(self) -> set[str]:
        """The names of which something is predicted: a custom objective without a table is not before it was fitted."""
        return {name for name in self.names if name == LOSS or name in self.fitted or name in self._custom}

    @property
    def resources(self) -> dict[str, Resource]:
        """The resource lines as fitted."""
        return {name: fitted.line for name, fitted in self.fitted.items()}

    def line(self, name: str, policies: Ints) -> Floats:
        """Predicted figure of resource `name` for `policies` (C, L)."""
        return fits.predict(self.fitted[name], self.tables, policies)

    def predict(self, policies: Ints) -> dict[str, Floats]:
        """Predicted value of every objective and limited quantity for `policies` (C, L)."""
        found: dict[str, Floats] = {}
        for name in self.names:
            if name == LOSS:
                found[name] = self.surrogate.predict(policies)
            elif name in self.resources:
                found[name] = self.line(name, policies)
            else:
                weights = self._custom.get(name)
                found[name] = self._design(policies) @ weights if weights is not None else np.zeros(len(policies))
        return found

    def forecast(self, policy: Assignment) -> Forecast:
        """What is expected of one policy, and of its resources how far off that may be."""
        policies = as_array([policy])
        values = {name: float(found[0]) for name, found in self.predict(policies).items() if name in self.known}
        priors = {prior.name: prior for prior in self.problem.resources if prior.name in values}
        sd = {
            name: float(fits.spread(self.fitted[name], self.tables, prior, policies)[0])
            for name, prior in priors.items()
        }
        return Forecast(values, sd)

    def _design(self, policies: Ints) -> Floats:
        """Columns for custom objectives: one, log loss, resource sums, scaled: (C, 2 + R)."""
        loss = compress(self.surrogate.predict(policies), self.surrogate.tiny)
        columns = np.column_stack([loss, self.tables.cost_sums(policies)])
        if self._custom_scale is None:
            self._custom_scale = (columns.mean(axis=0), columns.std(axis=0) + 1e-12)
        center, width = self._custom_scale
        return np.column_stack([np.ones(len(policies)), (columns - center) / width])

    def learn_resources(self, assignments: Sequence[Assignment], values: Sequence[Mapping[str, float]]) -> None:
        """Refit the resources on all finished trials."""
        policies = as_array(assignments)
        within = self.tables.pick(self.tables.changes.astype(float), policies).sum(axis=1)
        self._between = float((self.tables.switches(policies) - within).mean())
        for prior in self.problem.resources:
            if prior.name in self.names:
                measured = np.array([value[prior.name] for value in values])
                self.fitted[prior.name] = fits.refit(self.tables, prior, policies, measured)

    def learn(self, assignments: Sequence[Assignment], values: Sequence[Mapping[str, float]], spreads: Floats) -> None:
        """Refit everything on all finished trials; `spreads` (N,) are those of the loss."""
        self.learn_resources(assignments, values)
        policies = as_array(assignments)
        for name in self.names:
            if name != LOSS and name not in self.resources and len(values) >= 4:
                self._custom_scale = None
                design = self._design(policies)
                measured = np.array([value[name] for value in values])
                self._custom[name] = np.linalg.solve(
                    design.T @ design + 0.1 * np.eye(design.shape[1]), design.T @ measured
                )
        known = len(self.surrogate.losses)
        if LOSS in self.names and len(values) > known:
            losses = np.array([value[LOSS] for value in values[known:]])
            self.surrogate.add(policies[known:], losses, spreads[known:])

    def reach(self, name: str) -> tuple[float, float]:
        """Least and most that resource `name` is worth aiming at: all-cheapest, and dense or its limit if lower."""
        resource, costs = self.resources[name], self.fitted[name].costs
        low = resource.intercept + resource.slope * float(costs.min(axis=1).sum())
        high = resource.intercept + resource.slope * float(costs[:, 0].sum())
        limit = self.problem.limit(name)
        if limit is not None:
            high = min(high, self.safe(name, limit))
        return low, max(low, high)

    def safe(self, name: str, limit: float) -> float:
        """Aim below a limit by one residual, so that about five solves in six are within it."""
        margin = 1.0 + self.resources[name].residual
        return limit / margin if limit > 0 else limit * margin

    def solve(
        self,
        fractions: Sequence[float],
        knobs: Knobs | None = None,
        values: Mapping[str, float] | None = None,
        *,
        coupled: bool = True,
    ) -> Assignment:
        """Policy of least predicted loss with every swept resource at its fraction of the reach, or the nearest one."""
        caps: dict[str, float] = {}
        for name, fraction in zip(self.swept, fractions, strict=True):
            low, high = self.reach(name)
            caps[name] = low + fraction * (high - low)
        for name in self.capped:
            if name not in caps and self.problem.limit(name) is not None:
                caps[name] = self.reach(name)[1]
        # Room for rounding: the extreme policies lie exactly on their caps. A limit that no policy keeps is a cap at
        # the least that can be reached, so that the nearest policy is found.
        caps = {name: upper(cap) for name, cap in caps.items()}
        promised = {name: cap for name, cap in caps.items() if self.problem.limit(name) is not None}
        # Two resources may pull apart (a kernel that is small but slow): then only what is promised is kept, and if
        # the promises contradict each other, the policy that is nearest to all of them.
        for kept in (caps, promised):
            policy = self._solve_caps(kept, knobs, values, coupled)
            if policy is not None:
                return policy
        return self._nearest(promised)

    def _nearest(self, caps: Mapping[str, float]) -> Assignment:
        """The options of least total cost, each resource in units of its cap."""
        total = np.where(self.tables.valid, 0.0, np.inf)
        for name, cap in caps.items():
            total = total + np.nan_to_num(self.fitted[name].costs, posinf=0.0) / (abs(cap) or 1.0)
        return tuple(total.argmin(axis=1).tolist())

    def _solve_caps(
        self, caps: Mapping[str, float], knobs: Knobs | None, values: Mapping[str, float] | None, coupled: bool
    ) -> Assignment | None:
        names = [name for name in self.capped if name in caps]
        costs = np.array([self.fitted[name].costs for name in names]).reshape(len(names), *self.tables.damage.shape)
        lines = [self.resources[name] for name in names]
        budgets = np.array([(caps[line.name] - line.intercept) / (line.slope or 1.0) for line in lines])
        warp = (lambda unary: knobs.warp(unary, self.tables, values)) if knobs and values else (lambda unary: unary)
        damage = warp(self.surrogate.fit.unary)
        # Neighbours are not known yet: as many formats change between them as did in what was measured.
        room = np.array([self._between * line.switch / (line.slope or 1.0) for line in lines])
        room = np.maximum(budgets - room, np.minimum(costs.min(axis=2).sum(axis=1), 0.0))
        chosen, prices = allocate(damage, self._switch_costs(costs, lines, None, 0.0), room)
        if chosen is None:
            return None
        fit = self.surrogate.fit
        matters = self.tables.n_units > 1 and bool(
            np.any(fit.pair) or np.any(fit.bilinear) or any(line.switch for line in lines)
        )
        if not coupled or not matters:
            return tuple(chosen.tolist())
        best, best_loss = chosen, np.inf
        # On hundreds of units single neighbours matter less and solves cost more.
        few = self.tables.n_units <= _MANY
        whole = _COUPLED_ROUNDS if few else _COUPLED_ROUNDS // 2
        rounds = whole + (_PARITY_ROUNDS if few else _PARITY_ROUNDS // 2)
        idle = 0
        rows, parity = np.arange(len(chosen)), np.arange(len(chosen)) % 2
        for step in range(rounds + 1):
            predicted = float(self.surrogate.predict(chosen[None])[0])
            fits_all = all(self.line(line.name, chosen[None])[0] <= upper(caps[line.name]) for line in lines)
            if fits_all and predicted < best_loss:
                best, best_loss = chosen, predicted
            if step == rounds:
                break
            if step < whole:
                linear = warp(self.surrogate.linearised(chosen))
                # Averaging damps the two-cycle in which neighbours swap roles for ever.
                damage = 0.5 * (damage + linear) if step else linear
                again, prices = allocate(damage, self._switch_costs(costs, lines, chosen, 0.5), budgets, prices)
                if again is None:
                    break
                chosen = again
                continue
            # With every other unit held, the neighbours' couplings are exact: a descent from the best so far.
            free = parity == step % 2
            linear = warp(self.surrogate.linearised(best))[free]
            left = budgets - costs[:, rows[~free], best[~free]].sum(axis=1)
            again, prices = allocate(linear, self._switch_costs(costs, lines, best, 1.0)[:, free], left, prices)
            if again is None:
                break
            chosen = best.copy()
            chosen[free] = again
            idle = idle + 1 if np.array_equal(chosen, best) else 0
            if idle == 2:
                break
        return tuple(best.tolist())

    def _switch_costs(self, costs: Floats, lines: list[Resource], policy: Ints | None, share: float) -> Floats:
        """Costs with format changes charged: those within a unit, and `share` of those to the neighbours in `policy`.

        Half of them when all units may move, so that the sum counts each once; all of them when neighbours are held.
        """
        if not any(line.switch for line in lines):
            return costs
        tables = self.tables
        changes = tables.changes.astype(float)
        if policy is not None:
            rows = np.arange(tables.n_units)
            first, last = tables.first[rows, policy], tables.last[rows, policy]
            changes[1:] += share * (tables.first[1:] != last[:-1, None])
            changes[:-1] += share * (tables.last[:-1] != first[1:, None])
        priced = costs.copy()
        for index, line in enumerate(lines):
            if line.switch:
                priced[index] += changes * (line.switch / (line.slope or 1.0))
        return priced


def upper(cap: float) -> float:
    """A cap with room for rounding, whatever its sign."""
    return cap + 1e-9 * abs(cap)
