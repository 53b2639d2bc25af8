"""The section of ``config.json`` from which Transformers rebuilds an artifact: its shape, and the check of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from autocompress.artifact.manifest import FORMAT_VERSION, REMEDY
from autocompress.basics.schema import shaped, short
from autocompress.core.layer import Layer
from autocompress.core.policy import Policy
from autocompress.errors import ArtifactError, PolicyError

METHOD: Literal["autocompress"] = "autocompress"
"""``quant_method`` in the config: the name under which Transformers finds our loader."""
DTYPES = ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")


@dataclass(frozen=True)
class Section:
    """What rebuilds the structure.

    policy        as `Policy.to_json` gives it.   layers: of the dense model, those that the policy names.
    techniques    technique name to the distribution it came from.
    tied          state-dict names to the name that holds the same tensor.   absent: submodules that are None.
    architecture  the model's class.   dtype: the model's main dtype; each tensor keeps its own whatever it says.
    attention     the implementation that was measured; others need libraries that the loading machine may lack.
    """

    policy: Mapping[str, Any]
    layers: tuple[Layer, ...]
    techniques: Mapping[str, str] = field(default_factory=dict)
    tied: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    architecture: str = ""
    dtype: str = "float32"
    attention: Literal["eager", "sdpa"] | None = None
    format_version: int = FORMAT_VERSION
    quant_method: Literal["autocompress"] = METHOD


def read_section(data: Any, where: str) -> Section:
    """The section of a config, its policy included. Raises ArtifactError naming the first thing that is off."""
    version = data.get("format_version", FORMAT_VERSION) if isinstance(data, Mapping) else None
    if type(version) is int and version > FORMAT_VERSION:
        raise ArtifactError(
            f"{where} has format_version {version}, this autocompress reads up to {FORMAT_VERSION}: "
            "pip install --upgrade autocompress."
        )
    found = shaped(Section, data, where, ArtifactError, remedy=REMEDY)
    if found.dtype not in DTYPES:
        raise ArtifactError(f"{where}: dtype is {short(found.dtype)}, expected one of {', '.join(DTYPES)}; {REMEDY}")
    try:
        Policy.from_json(dict(found.policy), where=where)
    except PolicyError as error:
        raise ArtifactError(str(error)) from error
    return found
