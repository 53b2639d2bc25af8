"""`autocompress apply`: rebuild a compressed model from a policy file, without searching."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autocompress.cli.console import print_json, say, stdout, stdout_reserved
from autocompress.cli.progress import display

EXAMPLES = """Example:

  autocompress apply runs/a/policy.json ./my-model -o ./compressed"""


def add_to(app: typer.Typer) -> None:
    app.command("apply", epilog=EXAMPLES)(apply)


def apply(
    policy: Annotated[Path, typer.Argument(metavar="POLICY", help="A policy file.")],
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A Hugging Face folder or id, or demo.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of the new artifact.")],
    data: Annotated[
        str | None, typer.Option(help="A text, csv or json file, or .safetensors, to calibrate on.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="The text column of a csv or json file.")] = None,
    task: Annotated[str | None, typer.Option(help="What the model is for; guessed from its config.")] = None,
    runtime: Annotated[str, typer.Option(help="What runs it.")] = "torch",
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    batch: Annotated[int, typer.Option(help="Rows in a call.")] = 1,
    sequence: Annotated[int, typer.Option(help="Tokens in a row.")] = 128,
    threads: Annotated[int | None, typer.Option(help="Threads of a CPU; default: the free cores.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help="Run the model's own code.")] = False,
    allow_pickle: Annotated[bool, typer.Option("--allow-pickle", help="Load a checkpoint that is a pickle.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Compress a model by a policy file and save it as an artifact."""
    from autocompress.core.policy import Policy
    from autocompress.report.policy_words import policy_words
    from autocompress.request.request import SearchRequest

    chosen = Policy.load(policy)
    request = SearchRequest(
        model=model, data=data, column=column, task=task, runtime=runtime, device=device, batch=batch,
        sequence=sequence, threads=threads, seed=seed, trust_remote_code=trust_remote_code, allow_pickle=allow_pickle,
    )  # fmt: skip
    with stdout_reserved(as_json), display(quiet=quiet) as shown:
        from autocompress.artifact.needs import check_policy_needs
        from autocompress.request.names import check_names

        check_policy_needs(chosen, check_names(request, budgets=False).registry)  # before seconds of imports
        from autocompress.pipeline.apply import run_apply

        artifact = run_apply(request, chosen, out, shown)
    if as_json:
        print_json({"artifact": str(artifact.path), "policy": chosen.to_json()})
        return
    console = stdout()
    say(console, f"applied: {policy_words(chosen)}")
    say(console, f"artifact: {artifact.path}")
