"""Search problems whose true front is known: 140 options a layer, chain interactions, as in SEARCH.md section 4.

The generator knows nothing about any method. Truth is exact up to the gap between `truth.py`'s front and its dual
lower bound, which the benchmark prints.

    additive     loss is the sum of the layers' damages.
    interacting  plus cross terms within a layer (0.4 sqrt(d_s d_t)) and c_l sqrt(D_l D_{l+1}), c_l ~ N(.35, .35).
    strong       plus couplings of both signs between the techniques of neighbours, up to several times the damage
                 itself, and amplification: behind a bad layer, the next layer's damage grows up to fivefold.
    noisy        interacting, 5 % noise on loss and on latency instead of 2 %.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autocompress.engine.problem import Assignment, Limit, Option, Outcome, Problem, Resource, Unit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

KINDS = ("additive", "interacting", "strong", "noisy")
TECHNIQUES = ("quantize", "prune", "lowrank")
BITS = (16, 8, 6, 4, 3)
RATIOS = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75)
RANKS = (1.0, 0.75, 0.5, 0.25)
GRID = [(b, p, r) for b in range(len(BITS)) for p in range(len(RATIOS)) for r in range(len(RANKS))]
BUDGETS = (0.46, 0.36, 0.28)
MEMORY = 0.21
FIDELITY = 1.0 / 16.0
PROBE_NOISE = 0.10
PROXY_ERROR = 0.7


@dataclass(frozen=True)
class Synthetic:
    """The truth: parts (L, O, 3), couplings, latency and memory tables as shares of the dense model."""

    kind: str
    seed: int
    parts: Floats
    within: float
    pair: Floats
    techniques: Floats
    gain: Floats
    knee: Floats
    latency: Floats
    memory: Floats
    bits: Ints
    fusion: float
    noise: float

    @property
    def n_layers(self) -> int:
        return int(self.parts.shape[0])

    @cached_property
    def unary(self) -> Floats:
        """Damage of one layer alone, its own cross terms included: (L, O)."""
        total, roots = self.parts.sum(axis=2), np.sqrt(self.parts).sum(axis=2)
        return np.asarray(total + self.within * 0.5 * (roots**2 - total))

    def pairwise(self, layer: int, left: Ints, right: Ints) -> Floats:
        """Extra loss of layer's option `left` (A,) with the next layer's `right` (B,): (A, B)."""
        own = self.unary
        a, b = own[layer, left], own[layer + 1, right]
        extra = self.pair[layer] * np.sqrt(a[:, None] * b[None])
        if self.kind == "strong":
            roots_a, roots_b = np.sqrt(self.parts[layer, left]), np.sqrt(self.parts[layer + 1, right])
            extra = extra + roots_a @ self.techniques[layer] @ roots_b.T
            extra = extra + self.gain[layer] * np.minimum(1.0, a / self.knee[layer])[:, None] * b[None]
        return np.asarray(extra)

    def loss(self, policy: Assignment) -> float:
        """True loss."""
        return float(self.losses(np.array([policy]))[0])

    def losses(self, policies: Ints) -> Floats:
        """True loss of policies (C, L): (C,)."""
        rows = np.arange(self.n_layers)
        own = self.unary[rows, policies]
        total = own.sum(axis=1) + (np.sqrt(own[:, 1:] * own[:, :-1]) @ self.pair)
        if self.kind == "strong":
            roots = np.sqrt(self.parts)[rows, policies]
            total = total + np.einsum("cls,lst,clt->c", roots[:, :-1], self.techniques, roots[:, 1:], optimize=True)
            total = total + ((np.minimum(1.0, own[:, :-1] / self.knee) * own[:, 1:]) @ self.gain)
        return np.asarray(np.maximum(total, 1e-3 * own.sum(axis=1) + 1e-9))

    def latencies(self, policies: Ints) -> Floats:
        """True latency of policies (C, L) as a share of dense; a change of bit width between neighbours costs."""
        rows = np.arange(self.n_layers)
        bits = self.bits[policies]
        changes = (bits[:, 1:] != bits[:, :-1]).sum(axis=1)
        return np.asarray(self.latency[rows, policies].sum(axis=1) + self.fusion * changes)

    def memories(self, policies: Ints) -> Floats:
        """True memory of policies (C, L) as a share of dense."""
        return np.asarray(self.memory[np.arange(self.n_layers), policies].sum(axis=1))

    def rng(self, tag: str, policy: Assignment = ()) -> np.random.Generator:
        """Noise that depends on the problem and the policy only: every method that tries it sees the same."""
        text = f"{self.kind} {self.seed} {self.n_layers} {tag} {policy}"
        return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))

    def evaluate(self, policy: Assignment) -> Outcome:
        """One noisy full evaluation."""
        rng, policies = self.rng("evaluate", policy), np.array([policy])
        loss = self.loss(policy) * float(np.exp(self.noise * rng.normal()))
        latency = float(self.latencies(policies)[0]) * float(np.exp(self.noise * rng.normal()))
        values = {"loss": loss, "latency": latency, "memory": float(self.memories(policies)[0])}
        return Outcome(values, {"loss": self.noise * loss, "latency": self.noise * latency}, None, 0.0)

    def probe(self, policy: Assignment) -> tuple[float, float]:
        """Loss at 1/16 fidelity and its standard error; costs 1/16 of an evaluation."""
        loss = self.loss(policy) * float(np.exp(PROBE_NOISE * self.rng("probe", policy).normal()))
        return loss, PROBE_NOISE * loss

    def screen(self, policy: Assignment, rung: int) -> list[float]:
        """Losses of 16 rows, together as noisy and as dear as a probe; two policies share no noise."""
        noise = self.rng(f"screen {rung}", policy).normal(size=16)
        return [self.loss(policy) * float(np.exp(4 * PROBE_NOISE * one)) for one in noise]


def build(kind: str, layers: int, seed: int) -> Synthetic:
    """A problem of `kind` with `layers` layers."""
    rng = np.random.default_rng([KINDS.index(kind) if kind != "noisy" else 1, layers, seed])
    scale = np.exp(1.2 * rng.normal(size=layers))
    scale[rng.random(layers) < 0.08] *= 10.0
    ratios = np.exp(0.5 * rng.normal(size=(layers, 3))) * np.array([1.0, 0.7, 1.2])
    sharp = rng.uniform(1.5, 3.0, size=layers)
    rank_sharp = rng.uniform(1.0, 2.5, size=layers)
    parts = np.zeros((layers, len(GRID), 3))
    size = np.exp(0.4 * rng.normal(size=layers))
    size /= size.sum()
    speed = {16: 1.0, 8: 0.6, 6: 0.55, 4: 0.36, 3: 0.42}
    latency, memory = np.zeros((layers, len(GRID))), np.zeros((layers, len(GRID)))
    for j, (b, p, r) in enumerate(GRID):
        bits, ratio, rank = BITS[b], RATIOS[p], RANKS[r]
        parts[:, j, 0] = 0.0 if bits == 16 else scale * ratios[:, 0] * 4.0 ** (4 - bits) * 0.1
        parts[:, j, 1] = scale * ratios[:, 1] * ratio**sharp * 0.4
        parts[:, j, 2] = scale * ratios[:, 2] * (1 - rank) ** rank_sharp * 0.5
        tiles = np.ceil((1 - ratio) * 4) / 4
        factor = {1.0: 1.0, 0.75: 1.15, 0.5: 0.72, 0.25: 0.45}[rank]
        latency[:, j] = size * (0.08 + 0.92 * speed[bits] * tiles * factor)
        memory[:, j] = size * bits / 16 * (1 - ratio) * {1.0: 1.0, 0.75: 1.05, 0.5: 0.7, 0.25: 0.36}[rank]
    steps = max(0, layers - 1)
    interacts = kind != "additive"
    strong = kind == "strong"
    typical = 0.15 * scale
    return Synthetic(
        kind=kind,
        seed=seed,
        parts=parts,
        within=0.4 if interacts else 0.0,
        pair=np.maximum(-0.9, 0.35 + 0.35 * rng.normal(size=steps)) if interacts else np.zeros(steps),
        # Means differ by technique pair and problem; single couplings scatter around them and may cancel errors.
        techniques=(
            np.clip(rng.choice([-0.25, 0.5, 2.0], size=(3, 3)) + 0.6 * rng.normal(size=(steps, 3, 3)), -0.5, 4.0)
            if strong
            else np.zeros((steps, 3, 3))
        ),
        gain=np.where(rng.random(steps) < 0.4, rng.uniform(2.0, 5.0, size=steps), 0.0) if strong else np.zeros(steps),
        knee=typical[:-1] if layers > 1 else np.zeros(0),
        latency=latency,
        memory=memory,
        bits=np.array([BITS[b] for b, _, _ in GRID]),
        fusion=0.025 / max(1, steps),
        noise=0.05 if kind == "noisy" else 0.02,
    )


def single_option(technique: int) -> list[int]:
    """Options that use `technique` alone, mildest first."""
    return [
        j
        for j, (b, p, r) in enumerate(GRID)
        if (b > 0, p > 0, r > 0) == (technique == 0, technique == 1, technique == 2)
    ]


def tables(truth: Synthetic, *, probes: int) -> tuple[Floats, float]:
    """Damage parts (L, O, 3) that a method may use, and what they cost in full evaluations.

    Cheap scores err by a factor exp(N(0, 0.7)) per (layer, technique). With `probes` > 0 each (layer, technique)
    curve is rescaled by that many noisy single-layer measurements of 1/16 evaluation each.
    """
    rng = truth.rng("proxy")
    scores = truth.parts * np.exp(PROXY_ERROR * rng.normal(size=(truth.n_layers, 1, 3)))
    if probes == 0:
        return scores, 0.0
    parts = scores.copy()
    for layer in range(truth.n_layers):
        for technique in range(3):
            options = single_option(technique)
            picks = [options[round(q * (len(options) - 1))] for q in np.linspace(0, 1, probes + 2)[1:-1]]
            logs = []
            for option in picks:
                policy = tuple(option if i == layer else 0 for i in range(truth.n_layers))
                logs.append(np.log(truth.probe(policy)[0] / scores[layer, option, technique]))
            parts[layer, :, technique] *= np.exp(np.mean(logs))
    return parts, probes * 3 * truth.n_layers * FIDELITY


def problem(truth: Synthetic, parts: Floats, loss_limit: float) -> Problem:
    """The search problem with damage `parts`; resource lines come from twelve noisy measurements of whole policies."""
    rng = truth.rng("latency fit")
    sample = rng.integers(len(GRID), size=(12, truth.n_layers))
    measured = truth.latencies(sample) * np.exp(truth.noise * rng.normal(size=12))
    sums = truth.latency[np.arange(truth.n_layers), sample].sum(axis=1)
    slope = float((measured * sums).sum() / (sums**2).sum())
    residual = float(np.std(measured / (slope * sums)))
    units = []
    for layer in range(truth.n_layers):
        options = []
        for j, (b, p, r) in enumerate(GRID):
            label = f"bits={BITS[b]} prune={RATIOS[p]} rank={RANKS[r]}"
            split = {name: float(parts[layer, j, t]) for t, name in enumerate(TECHNIQUES) if parts[layer, j, t] > 0}
            costs = {"latency": float(truth.latency[layer, j]), "memory": float(truth.memory[layer, j])}
            options.append(Option(label, tuple(split), costs, sum(split.values()), split, (f"w{BITS[b]}",)))
        units.append(Unit(f"layer.{layer}", "linear", layer / max(1, truth.n_layers - 1), tuple(options)))
    return Problem(
        tuple(units),
        (Resource("latency", 0.0, slope, residual), Resource("memory")),
        (Limit("latency", BUDGETS[0]), Limit("memory", MEMORY), Limit("loss", loss_limit)),
    )
