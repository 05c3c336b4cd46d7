"""Citations of a report: keys of methods and datasets from the cells, others from ``published.bib``."""

from __future__ import annotations

import re

from diadbench.common.bibtex import Entry, read, shipped
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
    "Dinomaly": "guo2025dinomaly",
    "INP-Former": "luo2025inpformer",
    "AnomalyDINO": "damm2025anomalydino",
    "UniNet": "wei2025uninet",
    "Dinomaly2": "dinomaly2repository",
    "CostFilter-AD": "costfilterad",
    "OneNIP": "onenip",
    "AdaptCLIP": "adaptclip",
    "SubspaceAD": "subspacead",
    "RAD": "rad2026",
    "HGAD": "hgad",
    "cnulab": "cnulabdinomaly",
    "VLMDiff": "vlmdiff",
    "DeCo-Diff": "decodiff",
    "MVMCAD": "mvmcad",
    "InversionAD": "inversionad",
    "third-party": "thirdparty2026",
}
_KEY = re.compile(r"[A-Za-z0-9_:./+-]+\Z")


def source_key(source: str) -> str:
    """Return the BibTeX key of a source of published figures, or ``""``."""
    return next((key for start, key in SOURCES.items() if source.startswith(start + " ")), "")


def citations(source: Source) -> tuple[dict[str, str], str]:
    """Return ``{printed name: key}`` of all methods and datasets with a citation, and the text of references.bib.

    A key is used if its entry is available: in the cell's ``bibtex``, else in ``published.bib``.
    """
    known = shipped("reports.published", "published.bib")
    entries, keys, titles = dict(known), {}, {}
    told: set[str] = set()  # names whose cells have told what they cite; the others' files needn't be opened
    for dataset, method, cell in source.facts[["dataset", "method", "cell"]].itertuples(index=False, name=None):
        if {dataset, method} <= told:
            continue
        for name, info in ((method, cell.status.get("method_info")), (dataset, cell.status.get("dataset_info"))):
            info = info or {}
            told |= {name} if info else set()
            key = str(info.get("cite") or "")
            entries.update(read(str(info.get("bibtex") or "")))
            if key and _KEY.match(key) and name not in keys:
                keys[name] = key
                titles[key] = {
                    "title": str(info.get("paper") or info.get("title") or name),
                    "note": str(info.get("venue") or ""),
                }
    for key, texts in titles.items():
        entries.setdefault(key, Entry(key, fields={name: latex(text) for name, text in texts.items()}))
    used = [*dict.fromkeys(keys.values()), *(key for key in known if key not in keys.values())]
    return keys, "\n\n".join(str(entries[key]) for key in used) + "\n"


def bbl(references: str) -> str:
    """Return the bibliography as BibTeX would write it, so that ``main.tex`` compiles without bibtex."""
    lines = [r"\begin{thebibliography}{99}", ""]
    for key, entry in read(references).items():
        fields = entry.fields
        where = fields.get("booktitle") or fields.get("journal") or fields.get("note") or ""
        authors = fields.get("author", "").replace(" and ", "; ")
        parts = (authors, fields.get("title", ""), where, fields.get("year", ""))
        lines += [rf"\bibitem{{{key}}}", " ".join(f"{part}." for part in parts if part), ""]
    return "\n".join([*lines, r"\end{thebibliography}", ""])
