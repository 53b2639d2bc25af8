"""The plugin keeps autocompress's public contract, and autocompress finds it."""

from __future__ import annotations

import autocompress_kmeans
from autocompress_kmeans.technique import KmeansSharing

from autocompress.plugin import PROJECT
from autocompress.testing import TechniqueContract


class TestKmeansSharing(TechniqueContract):
    technique = KmeansSharing()
    least_cosine = 0.99


def test_the_hook_offers_the_technique() -> None:
    assert [technique.name for technique in autocompress_kmeans.autocompress_techniques()] == ["kmeans-sharing"]
    assert hasattr(autocompress_kmeans.autocompress_techniques, f"{PROJECT}_impl")
