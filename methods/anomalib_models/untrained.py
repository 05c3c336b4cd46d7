"""Build an anomalib model without fetching the weights of its network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def untrained_networks() -> Iterator[list[Any]]:
    """Give timm networks that anomalib's extractor creates inside the block initial weights, whatever it requests.

    Some models have an argument ``pre_trained``. Others (Dinomaly, InpFormer, AnomalyDINO, Stfpm) always request
    trained weights from the extractor.

    Yields:
        The extractors, as they are created. If there are none, the model's network isn't timm's.
    """
    from anomalib.models.components import TimmFeatureExtractor

    make, made = TimmFeatureExtractor.__init__, list[Any]()

    def untrained(self: Any, *args: Any, **kwargs: Any) -> None:
        made.append(self)
        make(self, *args, **{**kwargs, "pre_trained": False})

    TimmFeatureExtractor.__init__ = untrained  # type: ignore[method-assign]
    try:
        yield made
    finally:
        TimmFeatureExtractor.__init__ = make  # type: ignore[method-assign]
