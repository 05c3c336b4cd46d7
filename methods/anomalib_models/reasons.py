"""Why a model can't run here (no network, no package, no CUDA), as a Skip with one line."""

from __future__ import annotations

import traceback

from diadbench.common.errors import Skip, UserError
from diadbench.methods.base import RunContext
from diadbench.methods.features.hub import no_network


class reasons:  # reads as a statement: with reasons(...)
    """Turn what prevents a model from running (no network, package or CUDA) into a ``Skip`` with its reason."""

    def __init__(self, name: str, run: RunContext) -> None:
        self.name = name
        self.run = run

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, UserError) or not isinstance(error, Exception):
            return
        text = " ".join(str(error).split())[:200] or type(error).__name__
        reason = ""
        if no_network(error):
            reason = f"needs a download, and there is no network ({text})"
        elif isinstance(error, ImportError):
            reason = f"needs a package that is not installed ({text})"
        elif "cuda" in str(error).lower() and self.run.device.type != "cuda":
            reason = f"needs CUDA ({text})"
        elif isinstance(error, AssertionError) and _asserts_paths(error):
            reason = "needs the files of the images; methods get tensors here"
        if reason:
            raise Skip(f"anomalib:{self.name}: {reason}") from error


def _asserts_paths(error: AssertionError) -> bool:
    """Whether a model requires ``batch.image_path`` by an assertion, which has no text of its own (VlmAd)."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and "image_path" in (frames[-1].line or "")
