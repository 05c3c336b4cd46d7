"""Describe a dataset as text: what it is, where to get it, and what its folder must look like."""

from __future__ import annotations

import functools
import importlib.resources
import inspect
import json
import re
from pathlib import Path
from typing import Any

import yaml

from diadbench.common.bibtex import bibtex
from diadbench.common.errors import unknown_name
from diadbench.datasets.downloading.download import about
from diadbench.datasets.facts.counts import published
from diadbench.datasets.facts.known_sets import CATALOG
from diadbench.datasets.layouts.detect import LayoutDataset
from diadbench.datasets.layouts.roots import where
from diadbench.datasets.lookup import get_class


@functools.cache
def guides() -> dict[str, dict[str, Any]]:
    """Return, for each dataset with a folder: ``get`` (how), ``folder`` (its tree) and ``traps`` (a list)."""
    text = (importlib.resources.files("diadbench.datasets.facts") / "guides.yaml").read_text(encoding="utf-8")
    loaded: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return loaded


def info_text(name: str, root: Path | str | None = None, data_root: Path | str | None = None) -> str:
    """Return the description of a dataset as text: facts, published counts, folder, traps, BibTeX.

    Raises:
        UserError: Unknown name.
    """
    if name not in CATALOG:
        raise unknown_name("dataset", name, CATALOG)
    info, guide = CATALOG[name].info, guides().get(name, {})
    lines = [f"{info.title} ({name})", info.summary, ""]
    facts = {"home page": info.homepage, "licence": info.licence, "cite": info.cite, "get it": guide.get("get", "")}
    facts["download"] = about(name)
    facts["here"] = str(root) if root is not None else where(name, data_root)
    lines += [f"{key + ':':<11}{value}" for key, value in facts.items() if value]
    counts = count_table(name)
    lines += ["", *counts] if counts else []
    if "folder" in guide:
        lines += ["", "folder:", *("  " + line for line in guide["folder"].splitlines())]
    if guide.get("traps"):
        lines += ["", "traps:", *(f"  - {trap}" for trap in guide["traps"])]
    lines += ["", "options:", *(f"  {option}: {about}" for option, about in options(name))]
    entry = bibtex("datasets", info.cite)
    return "\n".join([*lines, *(["", entry] if entry else [])])


def options(name: str) -> list[tuple[str, str]]:
    """Return the options of a dataset with their defaults (``validation=false``) and what they mean.

    They are the keyword arguments of the adapter's class. Their meaning is taken from its docstring, or from that of
    the class that it inherits them from.

    Raises:
        UserError: Unknown name.
    """
    adapter = get_class(name)
    texts: dict[str, str] = {}
    for cls in reversed(adapter.__mro__):
        texts |= _arguments(inspect.getdoc(cls) or "") if cls.__module__.startswith("diadbench") else {}
    if issubclass(adapter, LayoutDataset):
        names = dict.fromkeys(layout.name for layout in adapter().accepted)
        texts["layout"] = f"{texts.get('layout', '')} Here: {', '.join(names)}.".strip()
    parameters = inspect.signature(adapter).parameters.values()
    return [(f"{one.name}={_plain(one.default)}", texts.get(one.name, "")) for one in parameters if one.name != "root"]


def _arguments(docstring: str) -> dict[str, str]:
    """Return the texts of the section ``Args`` of a docstring, by name, each as one line."""
    section = re.search(r"^Args:\n((?:(?: .*)?\n?)*)", docstring, re.MULTILINE)
    found = re.findall(r"^    (\w+): ((?:.*\n?(?: {5,}.*\n?)*))", section[1] if section else "", re.MULTILINE)
    return {name: " ".join(text.replace("``None``", "``null``").replace("``", "`").split()) for name, text in found}


def _plain(value: object) -> str:
    """Return a default in the form of the command line and grids: ``true``, ``null``, ``0.2``."""
    return json.dumps(value) if not isinstance(value, str) else value


def count_table(name: str) -> list[str]:
    """Return the published counts of a dataset as lines of text; empty if there are none."""
    known = published(name)
    if not known:
        return []
    order = [cls for cls in CATALOG[name].info.classes if cls in known[0][1]]
    rows = [(cls, known[0][1][cls]) for cls in order]
    lines = [f"{'class':<22}{'train':>8}{'normal':>8}{'anomalous':>11}"]
    lines += [f"{cls:<22}{row.train:>8,}{row.good:>8,}{row.bad:>11,}" for cls, row in rows]
    train, good, bad = (sum(getattr(row, key) for _, row in rows) for key in ("train", "good", "bad"))
    return [*lines, f"{'all':<22}{train:>8,}{good:>8,}{bad:>11,}"]
