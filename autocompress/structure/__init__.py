"""Finds the layers of any torch model by running it: linears, embeddings, convolutions, ffn and attention groups."""

from autocompress.structure.find import find_layers
from autocompress.structure.inputs import running
from autocompress.structure.modules import (
    get_attribute,
    has_attribute,
    install,
    nearest,
    owner_of,
    set_attribute,
    set_module,
)
from autocompress.structure.nested import main_output
from autocompress.structure.replay import Recorded, Suffix, record, record_first
from autocompress.structure.trace import call

__all__ = [
    "Recorded",
    "Suffix",
    "call",
    "find_layers",
    "get_attribute",
    "has_attribute",
    "install",
    "main_output",
    "nearest",
    "owner_of",
    "record",
    "record_first",
    "running",
    "set_attribute",
    "set_module",
]
