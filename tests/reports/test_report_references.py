"""Every key that a report cites has an entry, and every picture that the docs show is there."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from diadbench.datasets.facts import known_sets as catalog
from diadbench.reports import load_published
from diadbench.reports.paper.references import source_key

ROOT = Path(__file__).parents[2]


def _keys(text: str) -> set[str]:
    return set(re.findall(r"^@\w+\{([^,\s]+),", text, re.MULTILINE))


def test_every_source_of_published_figures_has_an_entry() -> None:
    known = _keys((files("diadbench.reports") / "published" / "published.bib").read_text(encoding="utf-8"))
    sources = list(load_published()["source"].unique())
    assert len(sources) > 5
    assert [source for source in sources if source_key(source) not in known] == []


def test_every_dataset_has_an_entry() -> None:
    known = _keys((files("diadbench.datasets") / "references.bib").read_text(encoding="utf-8"))
    cited = {entry.info.cite for entry in catalog.CATALOG.values()} - {""}
    assert len(cited) > 5
    assert cited - known == set()


def test_every_key_in_the_tables_is_in_the_bibliography(report: dict[str, Path]) -> None:
    tables = [path.read_text(encoding="utf-8") for name, path in report.items() if name.endswith(".tex")]
    cited = set(re.findall(r"\\cite\{([^}]+)\}", "".join(tables)))
    assert len(cited) > 3
    assert cited - _keys(report["references.bib"].read_text(encoding="utf-8")) == set()
    assert cited - set(re.findall(r"\\bibitem\{([^}]+)\}", report["main.tex"].with_suffix(".bbl").read_text())) == set()


def test_the_pictures_of_the_docs_are_there() -> None:
    shown = [
        path.parent / name
        for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
        for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", path.read_text(encoding="utf-8"))
        if "://" not in name
    ]
    assert len(shown) > 8
    assert [str(path) for path in shown if not path.is_file()] == []
    assert sum(path.stat().st_size for path in set(shown)) < 2_500_000
