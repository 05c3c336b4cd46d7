"""Facts about a dataset for tables, papers and users. Imports nothing, so that lists are quick."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DatasetInfo:
    """Facts about a dataset for tables, papers and users.

    Attributes:
        name: Registered name (``mvtec``).
        title: As printed in tables (``MVTec-AD``).
        summary: One sentence.
        homepage: Where to get it.
        licence: Licence of the data, as its owner states it.
        cite: BibTeX key in ``datasets/references.bib``.
        folder: Default folder name below ``data_root``.
        classes: Canonical class order (ADer's); empty when any class name goes.
        has_masks: Whether anomalous test samples have pixel masks.
        flags: Short notes that every table must carry (``"procedural images"``).
    """

    name: str
    title: str
    summary: str
    homepage: str = ""
    licence: str = ""
    cite: str = ""
    folder: str = ""
    classes: tuple[str, ...] = ()
    has_masks: bool = True
    flags: tuple[str, ...] = ()
