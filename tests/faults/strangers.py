"""Plugins that misbehave, as the source of modules that are installed for one search."""

from __future__ import annotations

TECHNIQUE = """
import os, signal, sys, time
import torch
from torch import nn
from autocompress import Choice, Replacement, Stage, Technique, hookimpl

class Halves(nn.Linear):
    pass

class Half(nn.Module):
    def __init__(self, linear):
        super().__init__()
        self.register_buffer("weight", linear.weight.detach().half())
        self.register_buffer("bias", linear.bias.detach().half())
    def forward(self, x):
        on_run()
        return nn.functional.linear(x, self.weight.float(), self.bias.float())

def on_run():
    pass

def in_session():
    return any("artifact.session" in word for word in sys.orig_argv)

def first_time(note):
    try:
        os.close(os.open(note, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

class Base(Technique):
    stage = Stage.SPARSIFY
    kinds = ("linear",)
    name = "half"
    def domain(self, layer, target):
        return {}
    def compress(self, group, params, calibration):
        return Replacement({"linear": Half(group.modules["linear"])})
    def build(self, group, params):
        return Replacement({"linear": Half(group.modules["linear"])})
"""

REGISTER = """
@hookimpl
def autocompress_techniques():
    return [found() for found in (%s,)]
"""

FAULTY = {
    "raises": "raise RuntimeError('no luck')",
    "leaves": "sys.exit(0)",
    "exits": "os._exit(0)",
    "crashes": "os.kill(os.getpid(), signal.SIGSEGV)",
    "sleeps": "time.sleep(600)",
    "blocks": "signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {9, 19}); time.sleep(600)",
    "scales": "group.modules['linear'].weight.data.mul_(2.0)",
    "replaces": "group.modules['linear'].weight = nn.Parameter(torch.zeros(2, 2))",
}
"""Technique name to what it does while it compresses."""


def faulty(*names: str) -> str:
    """A plugin with these techniques; their names are those of `FAULTY`."""
    classes = "".join(
        f"""
class {name.title()}(Base):
    name = "{name}"
    def compress(self, group, params, calibration):
        {FAULTY[name]}
        return super().compress(group, params, calibration)
"""
        for name in names
    )
    return TECHNIQUE + classes + REGISTER % ", ".join(name.title() for name in names)


def running(action: str) -> str:
    """A plugin whose technique ``half`` does this whenever its module runs."""
    return TECHNIQUE + f"\ndef on_run():\n    {action}\n" + REGISTER % "Base"


LISTENER = """
import sys
from autocompress import hookimpl

class One:
    @hookimpl
    def autocompress_trial_finished(self, trial):
        %s

@hookimpl
def autocompress_trial_finished(trial):
    %s
"""

LOADER = """
import sys
from autocompress import hookimpl

@hookimpl(tryfirst=True)
def autocompress_load_model(source):
    sys.exit(0)
"""

CLOCK = """
import random, time
real, jump = time.time, [0.0]
def jumping():
    jump[0] += random.choice((-1e6, 1e6))
    return real() + jump[0]
time.time = jumping
"""
"""A wall clock that jumps by eleven days, back or forth, whenever somebody looks at it."""
