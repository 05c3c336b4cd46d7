"""Facts about a method that need no import of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class MethodInfo:
    """The origin of a method and its requirements.

    Attributes:
        name: Registered name (``patchcore``).
        title: As printed in tables (``PatchCore``).
        summary: One sentence.
        paper: Title of the paper, or ``""``.
        venue: ``CVPR'22``.
        cite: BibTeX key in ``methods/references.bib``.
        needs: What must be there: ``pretrained backbone``, ``GPU 16 GB``, ...
        batch_invariant: The result doesn't depend on the batch size, so it may be halved when out of memory.
        supports_ddp: One cell may use several devices.
        channels: Input channels it asks for: ``("rgb",)`` or ``("rgb", "xyz")``.
        version: Raised when the results of the same options change; part of a cell's identity.
        packages: Installed packages whose code is the method, so that their versions are part of a cell's identity.
        technical: Options that decide no result, so that they are no part of a cell's identity.
        predicting: Options that only prediction reads: a model that was trained with one value of them and loaded
            with another predicts what a model trained with the other value would.
        later: Options that came after results had been made, each with the value that does what was done before; at
            that value they are no part of a cell's identity, so that those results stay valid.
        by_sample: Its answers were made elsewhere; it is asked by samples, and its maps have sizes of their own
            (:class:`~diadbench.methods.base.SampleMethod`).
    """

    name: str
    title: str
    summary: str
    paper: str = ""
    venue: str = ""
    cite: str = ""
    needs: tuple[str, ...] = ()
    batch_invariant: bool = False
    supports_ddp: bool = False
    channels: tuple[str, ...] = ("rgb",)
    version: int = 1
    packages: tuple[str, ...] = ()
    technical: tuple[str, ...] = ()
    predicting: tuple[str, ...] = ()
    later: tuple[tuple[str, Any], ...] = ()
    by_sample: bool = False
