"""Synthetic benchmark of the search engine: `python -m tests.benchmarks.bench_search` (FULL=1 for all sizes and seeds).

Prints hypervolume as a fraction of the true front's, at 50, 100 and 200 full-evaluation equivalents with probes
charged; loss regret at three latency budgets; each stage removed; proposer overhead. Exits 1 if a line of "Must show"
(issue 3, points 1, 2 and 4) that it measures falls short. Fractions are of the best known front; the bound printed
with each table says how much hypervolume the true one could have above it.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import optuna

from autocompress.engine import loop
from autocompress.engine.problem import Assignment, Outcome
from tests.benchmarks import rivals
from tests.benchmarks.synthetic import BUDGETS, FIDELITY, Synthetic, build, problem, tables
from tests.benchmarks.truth import Front, true_front

FULL = os.environ.get("FULL") == "1"
SEEDS = 10 if FULL else 5
AT = (50, 100, 200)
LARGE = 192


@dataclass(frozen=True)
class Score:
    """One run: hypervolume fractions at AT, loss regrets at 100 equivalents per budget, seconds outside evaluation."""

    fractions: tuple[float, ...]
    regrets: tuple[float, ...]


def figures(truth: Synthetic, front: Front, policies: list[Assignment], charged: float | list[float]) -> Score:
    """Score the policies that n equivalents pay for, for every n of AT, by their true figures.

    charged   what had been spent before the first policy, or when each policy had been evaluated.
    """
    array = np.array(policies)
    columns = truth.losses(array), truth.latencies(array), truth.memories(array)
    spent = charged if isinstance(charged, list) else [charged + number + 1 for number in range(len(policies))]
    fractions = []
    for n in AT:
        count = int(np.searchsorted(spent, n, side="right"))
        fractions.append(front.fraction(*(column[:count] for column in columns)) if count else 0.0)
    count = max(1, int(np.searchsorted(spent, 100, side="right")))
    return Score(tuple(fractions), tuple(front.regret(*(column[:count] for column in columns))))


def ours(
    truth: Synthetic,
    front: Front,
    seed: int,
    stages: frozenset[str] = loop.STAGES,
    probes: int = 1,
    races: bool = True,
) -> Score:
    """The engine on tables with one probe per (layer, technique), or on cheap scores alone; races are charged."""
    parts, charged = tables(truth, probes=probes)
    space = problem(truth, parts, front.limit)
    spent, policies = [charged], []

    def evaluate(policy: Assignment) -> Outcome:
        spent[0] += 1.0
        policies.append((policy, spent[0]))
        return truth.evaluate(policy)

    def screen(policy: Assignment, rung: int) -> list[float]:
        spent[0] += FIDELITY
        return truth.screen(policy, rung)

    loop.search(
        space, evaluate, trials=int(AT[-1] - charged), seed=seed, stages=stages, screen=screen if races else None
    )
    return figures(truth, front, [policy for policy, _ in policies], [at for _, at in policies])


def plain(rival: rivals.Rival, most: int = AT[-1]) -> Callable[[Synthetic, Front, int], Score]:
    """A rival that starts without probes."""

    def run(truth: Synthetic, front: Front, seed: int) -> Score:
        parts, _ = tables(truth, probes=0)
        return figures(truth, front, rival(truth, problem(truth, parts, front.limit), seed, most), 0.0)

    return run


def swept(probes: int) -> Callable[[Synthetic, Front, int], Score]:
    """The allocator sweep, spaced anew for every number of evaluations, which is its best form."""

    def run(truth: Synthetic, front: Front, seed: int) -> Score:
        parts, charged = tables(truth, probes=probes)
        space = problem(truth, parts, front.limit)
        scores = [
            figures(truth, front, rivals.sweep(truth, space, seed, int(n - charged)), charged)
            for n in AT
            if n > charged
        ]
        missing = len(AT) - len(scores)
        fractions = [0.0] * missing + [score.fractions[i + missing] for i, score in enumerate(scores)]
        return Score(tuple(fractions), scores[-2].regrets)

    return run


def methods(layers: int) -> dict[str, Callable[[Synthetic, Front, int], Score]]:
    """What runs at this size; per-layer samplers are left out at 192 layers in the quick form, for their time."""
    found: dict[str, Callable[[Synthetic, Front, int], Score]] = {"ours": ours}
    found["sweep, probed tables"] = swept(1)
    found["sweep, cheap scores"] = swept(0)
    found["level switching"] = plain(rivals.level_switch)
    found["random"] = plain(rivals.random_search)
    if layers < LARGE or FULL:
        found["NSGA-II"] = plain(rivals.nsga2)
        found["per-layer TPE"] = plain(rivals.layer_tpe, 200 if FULL else 100)
    return found


def removed() -> dict[str, Callable[[Synthetic, Front, int], Score]]:
    """Ours with each stage removed."""

    def without(*stages: str) -> Callable[[Synthetic, Front, int], Score]:
        return lambda truth, front, seed: ours(truth, front, seed, loop.STAGES - set(stages))

    found = {f"ours without {stage}": without(stage) for stage in ("sweep", "resolve", "tpe", "screen", "refit")}
    found["ours without probes"] = lambda truth, front, seed: ours(truth, front, seed, probes=0)
    found["ours without races"] = lambda truth, front, seed: ours(truth, front, seed, races=False)
    return found


def table(title: str, rows: dict[str, list[Score]]) -> None:
    """Median (and least) hypervolume fraction per number of equivalents, and median regrets at 100."""
    print(f"\n{title}")
    heads = [f"@{n} (min)" for n in AT] + [f"regret T={b}" for b in BUDGETS]
    print(f"  {'method':26s}" + "".join(f"{head:>15s}" for head in heads))
    for name, scores in rows.items():
        values = np.array([score.fractions for score in scores])
        regrets = np.median(np.array([score.regrets for score in scores]), axis=0)
        cells = [f"{m:.3f} ({low:.3f})" for m, low in zip(np.median(values, axis=0), values.min(axis=0), strict=True)]
        print(f"  {name:26s}" + "".join(f"{c:>15s}" for c in [*cells, *(f"{r:.2f}" for r in regrets)]))


def compete(kind: str, layers: int, seeds: int, ablate: bool) -> dict[str, np.ndarray]:
    """Run everything on `seeds` problems of a kind and size; returns median fractions (3,) by method."""
    contenders = methods(layers) | (removed() if ablate else {})
    rows: dict[str, list[Score]] = {name: [] for name in contenders}
    gaps, rooms = [], []
    started = time.monotonic()
    for seed in range(seeds):
        truth = build(kind, layers, seed)
        front = true_front(truth)
        gaps.append(front.gap)
        rooms.append(front.bound_volume / front.volume - 1.0)
        for name, method in contenders.items():
            if name in ("NSGA-II", "per-layer TPE") and layers >= 48 and seed >= 2 and not FULL:
                continue
            if name.startswith("ours without") and seed >= 3 and not FULL:
                continue
            rows[name].append(method(truth, front, seed))
    bound = f"truth within {max(gaps):.3f} nat and {max(rooms):.1%} of hypervolume"
    table(f"{kind}, L={layers}, {seeds} seeds; {bound}; {time.monotonic() - started:.0f} s", rows)
    return {name: np.median(np.array([s.fractions for s in scores]), axis=0) for name, scores in rows.items()}


def overhead(layers: int, trials: int) -> tuple[float, float]:
    """Wall and processor milliseconds per trial spent outside evaluation, averaged over `trials`."""
    truth = build("interacting", layers, 0)
    parts, _ = tables(truth, probes=1)
    space = problem(truth, parts, 0.2 * float(truth.unary[:, -1].sum()))
    spent = [0.0, 0.0]

    def evaluate(policy: Assignment) -> Outcome:
        before = time.perf_counter(), time.process_time()
        outcome = truth.evaluate(policy)
        spent[0] += time.perf_counter() - before[0]
        spent[1] += time.process_time() - before[1]
        return outcome

    started = time.perf_counter(), time.process_time()
    loop.search(space, evaluate, trials=trials, seed=0)
    wall, cpu = time.perf_counter() - started[0] - spent[0], time.process_time() - started[1] - spent[1]
    return 1000 * wall / trials, 1000 * cpu / trials


def main() -> int:
    """Run the benchmark; 1 if a measured line of Must show falls short."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    started = time.monotonic()
    checks: list[tuple[str, bool]] = []
    cases = [
        (kind, 48, SEEDS, kind in ("interacting", "strong")) for kind in ("additive", "interacting", "strong", "noisy")
    ]
    cases += [(kind, 12, SEEDS, False) for kind in ("additive", "interacting", "strong", "noisy")]
    cases += [
        (kind, LARGE, SEEDS if FULL or kind == "interacting" else 2, False)
        for kind in ("additive", "interacting", "strong")
    ]
    for kind, layers, seeds, ablate in cases:
        medians = compete(kind, layers, seeds, ablate)
        mine = medians["ours"]
        rest = {name: m for name, m in medians.items() if not name.startswith("ours")}
        best = np.max(np.array(list(rest.values())), axis=0)
        if kind in ("additive", "interacting") and layers == 48:
            checks.append((f"{kind} L=48 @100: {mine[1]:.3f} >= 0.94", mine[1] >= 0.94))
            checks.append((f"{kind} L=48 @200: {mine[2]:.3f} >= 0.96", mine[2] >= 0.96))
        if kind in ("additive", "interacting") and layers == LARGE:
            checks.append((f"{kind} L={LARGE} @200: {mine[2]:.3f} >= 0.94", mine[2] >= 0.94))
        if kind == "strong":
            ahead = mine[2] - medians["sweep, probed tables"][2]
            checks.append((f"strong L={layers} @200: {ahead:+.3f} against the probed sweep >= +0.02", ahead >= 0.02))
        behind = float(np.min(mine - best))
        checks.append((f"{kind} L={layers}: at worst {behind:+.3f} against the best rival >= -0.005", behind >= -0.005))
    if not FULL:
        print(
            "\nquick form: removed stages run 3 seeds; per-layer TPE stops at 100 evaluations;"
            " it and NSGA-II run 2 seeds at L=48 and none at L=192"
        )
    print("\nproposer overhead, ms a trial outside evaluation (wall / processor)")
    sizes = [(12, 100), (48, 100), (192, 100), (400, 100), (12, 1000), (48, 1000), (192, 1000), (400, 1000)]
    for layers, trials in sizes if FULL else [sizes[0], sizes[1], sizes[2], sizes[3], sizes[7]]:
        wall, cpu = overhead(layers, trials)
        print(f"  L={layers:4d} trials={trials:5d}  {wall:6.1f} / {cpu:6.1f}")
        if (layers, trials) == (400, 1000):
            # Processor time: the wall clock of a shared machine measures its other users too.
            checks.append((f"overhead L=400, 1000 trials: {cpu:.1f} ms of processor time <= 50", cpu <= 50.0))
    print(f"\nMust show (median of seeds), {time.monotonic() - started:.0f} s in all")
    for line, holds in checks:
        print(f"  {'holds' if holds else 'FALLS SHORT'}  {line}")
    return 0 if all(holds for _, holds in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
