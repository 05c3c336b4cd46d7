"""Citations of a report: keys of methods and datasets from the cells, of published figures from ``published.bib``."""

from __future__ import annotations

import re
from importlib.resources import files

from diadbench.reports.tables.escape import latex
from diadbench.reports.tables.source import Source

#: source of published figures -> its key in ``published.bib``
SOURCES = {
    "ADer": "zhang2024ader",
    "DiAD": "he2024diad",
    "MambaAD": "he2024mambaad",
    "UniAD": "you2022uniad",
    "PatchCore": "roth2022patchcore",
    "DRAEM": "zavrtanik2021draem",
    "anomalib": "akcay2022anomalib",
}
_ENTRY = re.compile(r"@\w+\s*\{\s*([^,\s{}]+)\s*,")
_KEY = re.compile(r"[A-Za-z0-9_:./+-]+\Z")


def source_key(source: str) -> str:
    """Return the BibTeX key of a source of published figures, or ``""``."""
    return next((key for start, key in SOURCES.items() if source.startswith(start + " ")), "")


def citations(source: Source) -> tuple[dict[str, str], str]:
    """Return ``{printed name: key}`` of all methods and datasets that say what to cite, and the text of references.bib.

    A key is used when its entry is at hand: in the cell's ``bibtex``, else in ``published.bib``.
    """
    shipped = _entries((files("diadbench.reports") / "published" / "published.bib").read_text(encoding="utf-8"))
    entries, keys, titles = dict(shipped), {}, {}
    for dataset, method, cell in source.facts[["dataset", "method", "cell"]].itertuples(index=False, name=None):
        for name, info in ((method, cell.status.get("method_info")), (dataset, cell.status.get("dataset_info"))):
            info = info or {}
            key = str(info.get("cite") or "")
            entries.update(_entries(str(info.get("bibtex") or "")))
            if key and _KEY.match(key) and name not in keys:
                keys[name] = key
                titles[key] = (str(info.get("paper") or info.get("title") or name), str(info.get("venue") or ""))
    for key, (title, venue) in titles.items():
        if key not in entries:
            entries[key] = f"@misc{{{key},\n  title = {{{latex(title)}}},\n  note = {{{latex(venue)}}}\n}}"
    used = [*dict.fromkeys(keys.values()), *(key for key in shipped if key not in keys.values())]
    return keys, "\n\n".join(entries[key] for key in used) + "\n"


def _entries(text: str) -> dict[str, str]:
    """Split BibTeX into its entries by balancing braces; what isn't a whole entry is left out."""
    found = {}
    for match in _ENTRY.finditer(text):
        depth, position = 0, match.start()
        while position < len(text):
            depth += {"{": 1, "}": -1}.get(text[position], 0)
            position += 1
            if depth == 0 and text[position - 1] == "}":
                found[match[1]] = text[match.start() : position]
                break
    return found


def bbl(references: str) -> str:
    """Return the bibliography as BibTeX would make it, so that ``main.tex`` compiles where there is no bibtex."""
    lines = [r"\begin{thebibliography}{99}", ""]
    for key, entry in _entries(references).items():
        fields = _fields(entry)
        where = fields.get("booktitle") or fields.get("journal") or fields.get("note") or ""
        parts = (
            fields.get("author", "").replace(" and ", "; "),
            fields.get("title", ""),
            where,
            fields.get("year", ""),
        )
        lines += [rf"\bibitem{{{key}}}", " ".join(f"{part}." for part in parts if part), ""]
    return "\n".join([*lines, r"\end{thebibliography}", ""])


def _fields(entry: str) -> dict[str, str]:
    """Return the fields of one entry, braces or quotes around them taken off."""
    found = {}
    for match in re.finditer(r"(\w+)\s*=\s*", entry):
        start = match.end()
        if start >= len(entry):
            continue
        if entry[start] == "{":
            depth, position = 0, start
            while position < len(entry):
                depth += {"{": 1, "}": -1}.get(entry[position], 0)
                position += 1
                if depth == 0:
                    break
            found[match[1].lower()] = entry[start + 1 : position - 1]
        else:
            value = re.match(r'"([^"]*)"|([\w.]+)', entry[start:])
            if value:
                found[match[1].lower()] = value[1] or value[2]
    return found
