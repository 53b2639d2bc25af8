"""Data in three disjoint splits, from a file, from tensors or from Python's own documentation."""

from __future__ import annotations

from autocompress.data.file import Columns, read_texts
from autocompress.data.labels import encode_labels
from autocompress.data.splits import Splits, batches, encode_texts, split_texts
from autocompress.data.tensors import read_tensors, splits_of_tensors
from autocompress.data.topics import python_topics

__all__ = [
    "Columns",
    "Splits",
    "batches",
    "encode_labels",
    "encode_texts",
    "python_topics",
    "read_tensors",
    "read_texts",
    "split_texts",
    "splits_of_tensors",
]
