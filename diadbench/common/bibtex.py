"""Read and write BibTeX entries, for all ``references.bib`` files."""

from __future__ import annotations

import functools
import importlib.resources
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Entry:
    """One entry.

    Attributes:
        key: ``he2024diad``.
        kind: ``article``, ``inproceedings``, ``misc``, ...
        fields: Values by field name in lower case, without the braces or quotes around them. ``author`` stays as it
            is written.
    """

    key: str
    kind: str = "misc"
    fields: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the entry as BibTeX source."""
        lines = [f"  {name} = {{{value}}}," for name, value in self.fields.items()]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}"])


def read(text: str) -> dict[str, Entry]:
    """Return ``{key: entry}`` of a text. Incomplete entries and repetitions of a key are ignored.

    Keys that differ only in case are the same key, as in BibTeX.
    """
    from pybtex import errors
    from pybtex.database.input.bibtex import Parser

    with errors.capture():  # A broken entry is skipped; those around it are read.
        found = Parser(person_fields=[]).parse_string(text).entries
        return {
            key: Entry(key, entry.type, {name.lower(): str(value) for name, value in entry.fields.items()})
            for key, entry in found.items()
            if entry.fields  # An unterminated entry takes the rest of the text.
        }


def shipped(room: str, file: str = "references.bib") -> dict[str, Entry]:
    """Return the entries of ``diadbench/<room>/<file>``; none if there is no such file."""
    return dict(_shipped(room, file))


@functools.cache
def _shipped(room: str, file: str) -> dict[str, Entry]:
    path = importlib.resources.files(f"diadbench.{room}") / file
    return read(path.read_text(encoding="utf-8")) if path.is_file() else {}


def bibtex(room: str, key: str) -> str:
    """Return the entry with ``key`` from ``diadbench/<room>/references.bib``; ``""`` if there is none."""
    return str(_shipped(room, "references.bib").get(key, ""))
