"""BibTeX entries by key, from the files that the rooms ship."""

from __future__ import annotations

import functools
import importlib.resources
import re


def bibtex(room: str, key: str) -> str:
    """Return the entry with ``key`` from ``diadbench/<room>/references.bib``; ``""`` when there is none."""
    return _entries(room).get(key, "")


@functools.cache
def _entries(room: str) -> dict[str, str]:
    path = importlib.resources.files(f"diadbench.{room}") / "references.bib"
    if not path.is_file():
        return {}
    entries = re.split(r"(?m)^(?=@)", path.read_text(encoding="utf-8"))
    return {found[1]: entry.strip() for entry in entries if (found := re.match(r"@\w+\{\s*([^,\s]+)", entry))}
