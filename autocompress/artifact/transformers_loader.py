"""Transformers loads an artifact: its quantizer registration rebuilds the structure before the weights arrive."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from autocompress.artifact.limits import bounded_build, check_amount, check_shapes, most_modules, read_header
from autocompress.artifact.manifest import BUFFERS, CONFIG, POLICY, REMEDY, WEIGHTS
from autocompress.artifact.names import renaming, transplant_
from autocompress.artifact.needs import check_techniques
from autocompress.artifact.section import METHOD, read_section
from autocompress.artifact.source import check_source, checked_section, folder_of, model_class_of, read_headers
from autocompress.artifact.tensors import alias_, complain, read_tensors
from autocompress.basics.schema import cause
from autocompress.compress import build_layers, build_policy_
from autocompress.core.layer import Layer
from autocompress.core.policy import Policy
from autocompress.errors import ArtifactError
from autocompress.plugin.registry import Registry, load_registry

logger = logging.getLogger(__name__)
_registry: ContextVar[Registry | None] = ContextVar("autocompress_registry", default=None)
_checked: ContextVar[Path | None] = ContextVar("autocompress_checked", default=None)
_IGNORED = ("_keys_to_ignore_on_load_missing", "_keys_to_ignore_on_load_unexpected")


class AutocompressConfig(QuantizationConfigMixin):  # type: ignore[misc]  # Transformers is untyped
    """The ``quantization_config`` of an artifact: a `Section`, as Transformers wants it."""

    def __init__(self, **data: Any) -> None:
        section = read_section(data, "quantization_config")
        self.__dict__ |= {**asdict(section), "layers": [layer.to_json() for layer in section.layers]}


class AutocompressQuantizer(HfQuantizer):  # type: ignore[misc]  # Transformers is untyped
    """Gives the empty model the structure of the policy; every tensor keeps the dtype that it was saved with."""

    requires_calibration = True  # it loads artifacts; compressing is what a search does

    def validate_environment(self, *_args: Any, **_kwargs: Any) -> None:
        # Here, because later everything runs under the meta device, and plugins must not be imported there.
        self.registry = _registry.get() or load_registry()
        check_techniques(self.quantization_config.techniques, self.registry, where="this artifact")

    def update_attn_implementation(self, config: Any) -> Any:
        # The first place that sees the config, before anything is built and before a weights file is looked at.
        self.checked = _checked.get() or check_source(Path(config.name_or_path or ""))
        if config._attn_implementation is None and self.quantization_config.attention:
            config._attn_implementation = self.quantization_config.attention
        return config

    def update_dtype(self, dtype: torch.dtype) -> torch.dtype:
        saved = getattr(torch, self.quantization_config.dtype)
        if dtype not in (saved, torch.get_default_dtype()):
            logger.warning("dtype %s is not applied: an artifact keeps the dtypes that were measured", dtype)
        assert isinstance(saved, torch.dtype)
        return saved

    def get_new_dtype(self, *_args: Any, **_kwargs: Any) -> None:
        """None: nothing is cast, whatever precisions lie side by side."""

    def update_weight_conversions(self, _conversions: Any, _model: Any) -> list[Any]:
        """None: our names are those of the model itself, not those of an older checkpoint."""
        return []

    def _process_model_before_weight_loading(
        self, model: Any, checkpoint_files: Sequence[str] | None = None, **_kwargs: Any
    ) -> Any:
        config = self.quantization_config
        self.folder = folder_of(checkpoint_files or ())
        if self.folder is not None and self.checked != self.folder.resolve():
            check_source(self.folder)
        layers = [Layer.from_json(layer) for layer in config.layers]
        policy, rename = Policy.from_json(config.policy), renaming(model, layers)
        if type(model).__name__ == config.architecture:
            _remove_(model, config.absent)
            build_policy_(model, policy, layers, self.registry)
        else:
            # A sibling may hold only a part of a group, so the group is built where it is whole.
            changes = build_layers(model_class_of(config.architecture)(model.config), policy, layers, self.registry)
            transplant_(model, changes, rename)
        names = set(model.state_dict())
        pairs = [(rename(alias) or "", rename(owner) or "") for alias, owner in config.tied.items()]
        self.tied = {alias: owner for alias, owner in pairs if alias in names and owner in names}
        # Only what was saved as shared is shared: a compressed copy may have its own weights where the dense tied them.
        model.all_tied_weights_keys = dict(self.tied)
        model.mark_tied_weights_as_initialized = lambda *_: _mark(model, self.tied)
        self.ignored = {name: getattr(model, name) for name in _IGNORED}
        if type(model).__name__ == config.architecture:
            # The artifact holds the whole state of this class, so nothing may be missing or left over in silence.
            for name in _IGNORED:
                setattr(model, name, set())
        if self.folder is not None:
            self._compare(model, self.folder)
        return model

    def _compare(self, model: Any, folder: Path) -> None:
        """Names, shapes and amounts, before Transformers makes room for what is missing."""
        header, where = read_headers(folder), str(folder)
        if type(model).__name__ != self.quantization_config.architecture:
            check_amount(model, header, where)
            return
        names = set(model.state_dict())
        complain((), {name for pair in self.quantization_config.tied.items() for name in pair} - names)
        expected = names - set(self.tied)
        complain(expected - set(header), set(header) - expected)
        check_shapes(model, header, self.tied, where)

    def _process_model_after_weight_loading(self, model: Any, **_kwargs: Any) -> Any:
        del model.mark_tied_weights_as_initialized
        for name, patterns in self.ignored.items():
            setattr(model, name, patterns)
        alias_(model, self.tied)
        if self.folder is not None and type(model).__name__ == self.quantization_config.architecture:
            _restore_buffers_(model, self.folder / BUFFERS)
        return model

    def is_serializable(self) -> bool:
        return True

    @property
    def is_trainable(self) -> bool:
        return False


def _register() -> None:
    """Tell Transformers' registries about us, once."""
    from transformers.quantizers.auto import (
        AUTO_QUANTIZER_MAPPING,
        register_quantization_config,
        register_quantizer,
    )

    if METHOD not in AUTO_QUANTIZER_MAPPING:
        register_quantization_config(METHOD)(AutocompressConfig)
        register_quantizer(METHOD)(AutocompressQuantizer)


def from_pretrained(
    folder: Path, architecture: str, registry: Registry, plan: tuple[Policy, Sequence[Layer]]
) -> nn.Module:
    """The model of an artifact whose files were verified, by Transformers' own loader; no code and no pickle.

    Raises ArtifactError when any tensor does not fit.
    """
    model_class, header = model_class_of(architecture), read_header(folder / WEIGHTS)
    section = checked_section(folder, header, model_class)
    if section.architecture != architecture:
        raise ArtifactError(
            f"{str(folder)!r}: its manifest says {architecture}, its {CONFIG} {section.architecture!r}; {REMEDY}"
        )
    policy, layers = plan
    if Policy.from_json(dict(section.policy)).layers != policy.layers or section.layers != tuple(layers):
        raise ArtifactError(f"{str(folder)!r}: its {CONFIG} builds another policy than its {POLICY} says; {REMEDY}")
    most = most_modules(header, len(section.layers))
    checked, token = _checked.set(folder.resolve()), _registry.set(registry)
    try:
        with _quiet(), bounded_build(str(folder), most):
            model, report = model_class.from_pretrained(
                folder,
                output_loading_info=True,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                weights_only=True,
            )
    except ArtifactError:
        raise
    except Exception as error:  # what a stranger's config makes of Transformers' classes may raise anything
        logger.debug("while loading %s", folder, exc_info=error)
        raise ArtifactError(
            f"{str(folder)!r} cannot be loaded ({type(error).__name__}: {cause(error)}); {REMEDY}"
        ) from error
    finally:
        _registry.reset(token)
        _checked.reset(checked)
    complain(report["missing_keys"], report["unexpected_keys"])
    assert isinstance(model, nn.Module)
    return model


def _remove_(model: nn.Module, absent: Sequence[str]) -> None:
    """Set submodules to None, as they were in the saved model."""
    for name in absent:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, None)


def _restore_buffers_(model: nn.Module, path: Path) -> None:
    """Put back buffers that are not in the state; a copy made by ``save_pretrained`` has no such file."""
    buffers = read_tensors(path) if path.is_file() else {}
    for name, value in buffers.items():
        parent, _, attribute = name.rpartition(".")
        device = model.get_buffer(name).device
        setattr(model.get_submodule(parent), attribute, value.to(device))


def _mark(model: Any, tied: Mapping[str, str]) -> None:
    """Tell Transformers what needs no initial values: it runs this once the weights are in.

    Its own looks for tied parameters only; here a buffer may be shared (int8 weights). And a model's ``_init_weights``
    reaches into children (``module.c_proj.weight``) that a technique has replaced: modules with nothing left to fill
    are marked, so that it never sees them. What is not loaded (other heads, buffers outside the state) is on meta.
    """
    for name in tied:
        model.get_parameter_or_buffer(name)._is_hf_initialized = True
    for prefix, module in model.named_modules():
        own = [*module.named_parameters(prefix, recurse=False), *module.named_buffers(prefix, recurse=False)]
        if not any(tensor.device.type == "meta" and name not in tied for name, tensor in own):
            module._is_hf_initialized = True


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar of Transformers inside ours."""
    from transformers.utils import logging as theirs

    shown = theirs.is_progress_bar_enabled()
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            theirs.enable_progress_bar()


_register()
