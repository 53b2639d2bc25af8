"""Where a technique has a real kernel: its own answer for a typical layer of each kind, here and on a GPU."""

from __future__ import annotations

from math import prod

from autocompress.contracts.technique import Technique
from autocompress.core.layer import Layer, Role
from autocompress.core.target import Target
from autocompress.measure.machine import CAPABILITIES, available_threads, fingerprint

WIDTH, INNER, HEADS, WORDS = 768, 3072, 12, 30000


def example_targets() -> dict[str, Target]:
    """This machine's CPU, a CPU without any special instructions, and a recent CUDA device."""
    here = Target("cpu", threads=available_threads(), fingerprint=fingerprint("cpu"))
    plain = {"flags": ["sse2"]}  # no flags at all would mean this machine's
    card = {"flags": ["cuda", "sm_90", *CAPABILITIES]}
    return {
        "cpu (here)": here,
        "cpu (plain)": Target("cpu", fingerprint=plain),
        "cuda (sm_90)": Target("cuda", fingerprint=card),
    }


def offered(technique: Technique, target: Target) -> str:
    """What the technique offers to typical layers on the target, in words, or "" when it has no kernel there."""
    found: list[str] = []
    for kind in technique.kinds:
        layer = example_layer(kind)
        domain = technique.domain(layer, target)
        if domain is not None:
            words = "; ".join(f"{name} {_values(domain[name].values())}" for name in domain)
            found.append(f"{kind} ({words})" if words else kind)
    return ", ".join(found)


SQUARE = (WIDTH, WIDTH)
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "linear": {"linear": SQUARE},
    "embedding": {"embedding": (WORDS, WIDTH)},
    "conv": {"conv": (WIDTH, 3, 16, 16)},
    "ffn": {"up": (INNER, WIDTH), "down": (WIDTH, INNER)},
    "attention": {"q": SQUARE, "k": SQUARE, "v": SQUARE, "out": SQUARE},
    "block": {"block": ()},
}
SIZES = {
    "ffn": {"width": INNER},
    "attention": {"heads": HEADS, "kv_heads": HEADS, "head_dim": WIDTH // HEADS},
}


def example_layer(kind: str) -> Layer:
    """A layer of a BERT-base sized model."""
    shapes = SHAPES[kind]
    roles = {role: Role(f"layer.{role}", 0, shape[0] if shape else 0) for role, shape in shapes.items()}
    name = f"layer:{kind}" if len(shapes) > 1 else f"layer.{kind}"
    parameters = sum(prod(shape) for shape in shapes.values() if shape)
    return Layer(name, kind, "layer", roles, shapes, parameters, SIZES.get(kind, {}), block="layer")


def _values(values: tuple[object, ...]) -> str:
    shown = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    return ", ".join(shown) if len(shown) <= 5 else f"{shown[0]} ... {shown[-1]} ({len(shown)} values)"
