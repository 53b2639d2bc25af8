"""The true front of a synthetic problem: Viterbi on the Lagrangian, local refinement, and a dual lower bound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autocompress.engine.hypervolume import hypervolume
from tests.benchmarks.synthetic import BUDGETS, MEMORY, Floats, Ints, Synthetic

LOWEST = 0.12
RANGE = 3.0
_TARGETS = np.linspace(LOWEST, BUDGETS[0], 69)


@dataclass(frozen=True)
class Front:
    """Best known loss at each latency target, and a proven lower bound on it.

    limit: the loss limit, e^3 = 20 times the best loss within the latency budget, where the best of 100 random
    policies ends up (SEARCH.md section 4); with the latency budget it is the reference point.
    """

    targets: Floats
    losses: Floats
    bounds: Floats
    points: Floats
    limit: float

    @property
    def reference(self) -> Floats:
        """Reference point in (log loss, latency)."""
        return np.array([np.log(self.limit), BUDGETS[0]])

    @property
    def volume(self) -> float:
        return hypervolume(self.points, self.reference)

    @property
    def bound_volume(self) -> float:
        """Hypervolume that no policy can exceed: the lower bound on loss as if every latency were reached exactly."""
        points = np.column_stack([np.log(np.maximum(self.bounds, 1e-9)), self.targets])
        # Between two targets the front cannot be below the bound of the higher one.
        points[1:, 1] = points[:-1, 1]
        return hypervolume(points, self.reference)

    @property
    def gap(self) -> float:
        """Largest distance in nat between the front and its lower bound."""
        return float(np.max(np.log(self.losses) - np.log(self.bounds)))

    def fraction(self, losses: Floats, latencies: Floats, memories: Floats) -> float:
        """Share of the true hypervolume that policies with these true figures (N,) reach."""
        fine = memories <= MEMORY
        points = np.column_stack([np.log(losses[fine]), latencies[fine]])
        return hypervolume(points, self.reference) / self.volume

    def regret(self, losses: Floats, latencies: Floats, memories: Floats) -> list[float]:
        """Best loss within each budget over the true best, by true figures; infinite if none is within."""
        found = []
        for budget in BUDGETS:
            fine = (memories <= MEMORY) & (latencies <= budget)
            best = float(losses[fine].min()) if fine.any() else np.inf
            found.append(best / float(np.interp(budget, self.targets, self.losses)))
        return found


class Solver:
    """Chain tables of one problem, restricted to options that no other option of the same bit width dominates."""

    def __init__(self, truth: Synthetic) -> None:
        self.truth = truth
        self.unary = truth.unary
        self.keep = [self._undominated(layer) for layer in range(truth.n_layers)]
        self.pairs = []
        for layer in range(truth.n_layers - 1):
            left, right = self.keep[layer], self.keep[layer + 1]
            change = truth.bits[left][:, None] != truth.bits[right][None]
            self.pairs.append((truth.pairwise(layer, left, right), truth.fusion * change))

    def _undominated(self, layer: int) -> Ints:
        truth = self.truth
        features = np.column_stack([truth.parts[layer], truth.latency[layer], truth.memory[layer]])
        kept = []
        for j in range(len(features)):
            better = np.all(features <= features[j] + 1e-15, axis=1) & (truth.bits == truth.bits[j])
            strict = better & (np.any(features < features[j] - 1e-15, axis=1) | (np.arange(len(features)) < j))
            if not strict.any():
                kept.append(j)
        return np.array(kept)

    def viterbi(self, price: float, memory_price: float) -> tuple[Ints, float]:
        """Exact minimiser of loss + price * latency + memory_price * memory, and that minimum."""
        truth = self.truth
        own = self.unary + price * truth.latency + memory_price * truth.memory
        value = own[0, self.keep[0]]
        back: list[Ints] = []
        for layer in range(1, truth.n_layers):
            extra, change = self.pairs[layer - 1]
            table = value[:, None] + extra + price * change
            choice = table.argmin(axis=0)
            back.append(choice)
            value = table[choice, np.arange(table.shape[1])] + own[layer, self.keep[layer]]
        at = int(value.argmin())
        policy = [at]
        for choice in reversed(back):
            policy.append(int(choice[policy[-1]]))
        found = np.array([keep[i] for keep, i in zip(self.keep, reversed(policy), strict=True)])
        return found, float(value.min())

    def moves(self, policy: Ints) -> tuple[Floats, Floats, Floats]:
        """Loss, latency and memory after each single switch of `policy`: three tables (L, O)."""
        truth, n_options = self.truth, self.unary.shape[1]
        everything = np.arange(n_options)
        loss, latency = self.unary.copy(), truth.latency.copy()
        for layer in range(truth.n_layers - 1):
            here, there = policy[layer : layer + 1], policy[layer + 1 : layer + 2]
            loss[layer] += truth.pairwise(layer, everything, there)[:, 0]
            loss[layer + 1] += truth.pairwise(layer, here, everything)[0]
            latency[layer] += truth.fusion * (truth.bits != truth.bits[there])
            latency[layer + 1] += truth.fusion * (truth.bits != truth.bits[here])
        now = self.figures(policy[None])
        rows = np.arange(truth.n_layers)
        tables = (loss, latency, truth.memory)
        moved = [float(n[0]) + table - table[rows, policy][:, None] for n, table in zip(now, tables, strict=True)]
        return moved[0], moved[1], moved[2]

    def figures(self, policies: Ints) -> tuple[Floats, Floats, Floats]:
        """True loss, latency and memory of policies (C, L)."""
        return self.truth.losses(policies), self.truth.latencies(policies), self.truth.memories(policies)

    def refine(self, policy: Ints, target: float) -> Ints:
        """Best single switches within latency `target` and the memory budget until none helps."""
        policy = policy.copy()
        now = self.truth.loss(tuple(policy))
        for _ in range(60):
            loss, latency, memory = self.moves(policy)
            loss = np.where((latency <= target) & (memory <= MEMORY), loss, np.inf)
            layer, option = divmod(int(loss.argmin()), loss.shape[1])
            if loss[layer, option] >= now * (1 - 1e-9):
                return policy
            policy[layer], now = option, float(loss[layer, option])
        return policy


def true_front(truth: Synthetic, prices: int = 64, memory_prices: int = 8) -> Front:
    """Best known front over latency at the fixed memory budget, with a lower bound from every Lagrangian solved."""
    solver = Solver(truth)
    found: list[Ints] = []
    bounds = np.zeros(len(_TARGETS))
    level = float(np.median(truth.unary[:, -1]) * truth.n_layers)

    def descend(price: float) -> float:
        """Solve at one latency price, bisecting the memory price; returns the latency reached."""
        nonlocal bounds
        low, high, reached = -7.0, 4.0, np.inf
        for step in range(memory_prices):
            middle = 0.5 * (low + high)
            memory_price = 0.0 if step == 0 else price * float(np.exp(middle))
            policy, value = solver.viterbi(price, memory_price)
            found.append(policy)
            bounds = np.maximum(bounds, value - price * _TARGETS - memory_price * MEMORY)
            if truth.memories(policy[None])[0] <= MEMORY:
                reached, high = float(truth.latencies(policy[None])[0]), middle
                if step == 0:
                    break
            elif step > 0:
                low = middle
        return reached

    coarse = level * np.exp(np.linspace(-5.0, 3.5, 14))
    reached = [descend(float(price)) for price in coarse]
    inside = [i for i, value in enumerate(reached) if LOWEST <= value <= 1.1 * BUDGETS[0]] or [0, len(coarse) - 1]
    ends = coarse[max(0, inside[0] - 1)], coarse[min(len(coarse) - 1, inside[-1] + 1)]
    for price in np.geomspace(*ends, prices):
        descend(float(price))
    policies = np.array(found)
    policies = np.vstack([policies, _refined(solver, policies)])
    losses, latencies, memories = solver.figures(policies)
    fine = memories <= MEMORY
    losses, latencies = losses[fine], latencies[fine]
    best = np.array([losses[latencies <= t].min() if (latencies <= t).any() else np.inf for t in _TARGETS])
    limit = float(best[-1] * np.exp(RANGE))
    inside = best <= limit
    points = np.column_stack([np.log(losses), latencies])
    return Front(_TARGETS[inside], best[inside], bounds[inside], points, limit)


def _refined(solver: Solver, policies: Ints) -> Ints:
    losses, latencies, memories = solver.figures(policies)
    out = []
    for target in _TARGETS:
        fine = (latencies <= target) & (memories <= MEMORY)
        if fine.any():
            out.append(solver.refine(policies[np.where(fine, losses, np.inf).argmin()], float(target)))
    return np.array(out)
