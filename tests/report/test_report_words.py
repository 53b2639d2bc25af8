"""A policy in a few words."""

from __future__ import annotations

from autocompress.core.policy import LayerPolicy, Policy, Step
from autocompress.report.policy_words import policy_words


def policy(*steps: Step) -> Policy:
    return Policy({f"layer.{number}": LayerPolicy((step,)) for number, step in enumerate(steps)})


def test_nothing_changed_is_dense() -> None:
    assert policy_words(None) == policy_words(Policy()) == policy_words(Policy({"a": LayerPolicy()})) == "dense"


def test_the_most_frequent_technique_comes_first() -> None:
    steps = [
        Step("ffn", {"keep": 0.75}),
        *[Step("int8")] * 3,
        Step("cast", {"dtype": "bf16"}),
        Step("ffn", {"keep": 0.75}),
    ]
    assert policy_words(policy(*steps)) == "3 x int8, 2 x ffn keep 0.75, 1 x cast dtype bf16"


def test_many_values_become_a_range() -> None:
    steps = [Step("svd", {"rank": rank}) for rank in (64, 16, 32, 32)]
    assert policy_words(policy(*steps)) == "4 x svd rank 16-64"


def test_many_words_are_listed() -> None:
    steps = [Step("cast", {"dtype": dtype, "fast": True}) for dtype in ("bf16", "fp16", "fp8")]
    assert policy_words(policy(*steps)) == "3 x cast dtype bf16/fp16/fp8 fast True"


def test_two_steps_on_one_layer_are_counted_each() -> None:
    both = Policy({"a": LayerPolicy((Step("ffn", {"keep": 0.5}), Step("int8")))})
    assert policy_words(both) == "1 x ffn keep 0.5, 1 x int8"
