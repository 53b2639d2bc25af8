"""Weight sharing by k-means codebooks, as a plugin of autocompress."""

from __future__ import annotations

from collections.abc import Iterable

from autocompress.plugin import Technique, hookimpl


@hookimpl
def autocompress_techniques() -> Iterable[Technique]:
    from autocompress_kmeans.technique import KmeansSharing

    return [KmeansSharing()]
