"""Finds the layers of any torch model by running it: linears, embeddings, convolutions, ffn and attention groups."""

from autocompress.structure.find import find_layers
from autocompress.structure.modules import get_attribute, install, owner_of, set_attribute, set_module
from autocompress.structure.outputs import main_output

__all__ = ["find_layers", "get_attribute", "install", "main_output", "owner_of", "set_attribute", "set_module"]
