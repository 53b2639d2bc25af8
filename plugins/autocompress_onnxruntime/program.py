"""A graph in a session of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autocompress.plugin import Target, TrialError
from autocompress_onnxruntime.export import FORM
from autocompress_onnxruntime.outputs import rebuilt


class OnnxProgram:
    """Calls a session with inputs by name; those that the graph does not read are left out.

    path   the file that it was opened from.
    """

    def __init__(self, path: Path, target: Target, *, keep: Any = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = target.threads, 1
        options.log_severity_level = 3
        # Threads that spin after a call would take the cores from what is timed next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's own errors have no common base
            raise TrialError(f"ONNX Runtime does not open the graph ({str(error)[:200]})") from error
        self.path, self._keep = path, keep
        self._wanted = [one.name for one in self._session.get_inputs()]
        self._form = json.loads(self._session.get_modelmeta().custom_metadata_map[FORM])

    def __call__(self, inputs: Mapping[str, Tensor]) -> Any:
        absent = [name for name in self._wanted if name not in inputs]
        if absent:
            raise TrialError(f"the graph reads {absent[0]!r}, which is not among the inputs ({', '.join(inputs)})")
        given = {name: inputs[name].detach().contiguous().numpy() for name in self._wanted}
        return rebuilt(self._form, [torch.from_numpy(one) for one in self._session.run(None, given)])

    def close(self) -> None:
        """End the session and remove the file if it was a temporary one."""
        del self._session
        self._keep = None
