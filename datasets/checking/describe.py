"""Tell people about a dataset: what it is, where to get it, what its folder must look like, how it looks."""

from __future__ import annotations

import functools
import importlib.resources
import inspect
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml
from PIL import Image, ImageDraw

from diadbench.common.bibtex import bibtex
from diadbench.common.errors import unknown_name
from diadbench.common.files import write_with
from diadbench.datasets.base import Dataset
from diadbench.datasets.decoding.images import inside, read_image, read_mask
from diadbench.datasets.decoding.masks import resize_mask
from diadbench.datasets.downloading.download import about
from diadbench.datasets.facts.counts import published
from diadbench.datasets.facts.known_sets import CATALOG
from diadbench.datasets.layouts.detect import LayoutDataset
from diadbench.datasets.layouts.roots import find_root, where
from diadbench.datasets.lookup import get, get_class

_TILE = 128
_LABEL = 16
_COLUMNS = ("training", "normal", "anomalous", "mask")


@functools.cache
def guides() -> dict[str, dict[str, Any]]:
    """Return, for each dataset with a folder: ``get`` (how), ``folder`` (its tree) and ``traps`` (a list)."""
    text = (importlib.resources.files("diadbench.datasets.facts") / "guides.yaml").read_text(encoding="utf-8")
    loaded: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return loaded


def info_text(name: str, root: Path | str | None = None, data_root: Path | str | None = None) -> str:
    """Return what is to know about a dataset, as text: facts, published counts, folder, traps, BibTeX.

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

    They are the keyword arguments of the adapter's class; what they mean stands in its docstring, or in that of the
    class that it inherits them from.

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
    """Return a default as the command line and a grid have it: ``true``, ``null``, ``0.2``."""
    return json.dumps(value) if not isinstance(value, str) else value


def count_table(name: str) -> list[str]:
    """Return the published counts of a dataset as lines of text; empty when there are none."""
    known = published(name)
    if not known:
        return []
    order = [cls for cls in CATALOG[name].info.classes if cls in known[0][1]]
    rows = [(cls, known[0][1][cls]) for cls in order]
    lines = [f"{'class':<22}{'train':>8}{'normal':>8}{'anomalous':>11}"]
    lines += [f"{cls:<22}{row.train:>8,}{row.good:>8,}{row.bad:>11,}" for cls, row in rows]
    train, good, bad = (sum(getattr(row, key) for _, row in rows) for key in ("train", "good", "bad"))
    return [*lines, f"{'all':<22}{train:>8,}{good:>8,}{bad:>11,}"]


def contact_sheet(
    name: str, root: Path | str | None, out: Path | str, *, classes: Sequence[str] | None = None, **options: Any
) -> Path:
    """Draw a PNG with a row for each class: a training image, a normal and an anomalous test image, its mask.

    Args:
        name: Registered name.
        root: Its directory; ``None`` looks where :func:`find_root` does.
        out: The PNG to write.
        classes: These classes only.
        options: Options of the dataset.

    Returns:
        The path that was written.

    Raises:
        UserError: The dataset is not found, or an image can't be read.
    """
    dataset = get(name, find_root(name, root), classes=classes, **options)
    rows = [_row(dataset, cls) for cls in dataset.classes]
    sheet = Image.new("RGB", (_TILE * len(_COLUMNS), (_TILE + _LABEL) * len(rows)), "white")
    for i, (cls, tiles) in enumerate(zip(dataset.classes, rows)):
        top = i * (_TILE + _LABEL)
        ImageDraw.Draw(sheet).text((4, top + 2), f"{cls}: {', '.join(_COLUMNS)}", fill="black")
        for j, tile in enumerate(tiles):
            sheet.paste(tile, (j * _TILE, top + _LABEL))
    target = Path(out)
    target = target if target.suffix.lower() == ".png" else target.with_name(target.name + ".png")
    write_with(target, lambda path: sheet.save(path, "PNG"))
    return target


def _row(dataset: Dataset, cls: str) -> list[Image.Image]:
    table = dataset.samples[dataset.samples["class"] == cls]
    kinds = [(table["split"] == "train"), (table["split"] == "test") & (table["label"] == 0)]
    bad = table[(table["split"] == "test") & (table["label"] == 1)]
    tiles = [_image(dataset, table[kind]) for kind in kinds]
    return [*tiles, _image(dataset, bad), _mask(dataset, bad)]


def _image(dataset: Dataset, rows: pd.DataFrame) -> Image.Image:
    if rows.empty:
        return Image.new("RGB", (_TILE, _TILE), "lightgrey")
    return Image.fromarray(read_image(inside(dataset.root, rows["image"].iloc[0]))).resize((_TILE, _TILE))


def _mask(dataset: Dataset, rows: pd.DataFrame) -> Image.Image:
    mask: npt.NDArray[np.bool_] = np.zeros((_TILE, _TILE), dtype=bool)
    if len(rows) and rows["mask"].iloc[0]:
        mask = resize_mask(read_mask(inside(dataset.mask_root, rows["mask"].iloc[0])), (_TILE, _TILE))
    return Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0))).convert("RGB")


def markdown() -> str:
    """Return the part of ``docs/datasets.md`` that has a section for each dataset; a test compares the two."""
    made = [name for name in CATALOG if name not in guides()]
    return "\n".join([*(_section(name) for name in guides()), *(_short_section(name) for name in made)])


def _short_section(name: str) -> str:
    known = CATALOG[name].info
    return "\n".join([f"## {known.title}: `{name}`", "", known.summary, "", *_option_lines(name), ""])


def _option_lines(name: str) -> list[str]:
    return ["Options:", "", *(f"- `{option}`: {about}" for option, about in options(name))]


def _section(name: str) -> str:
    info, guide = CATALOG[name].info, guides()[name]
    lines = [f"## {info.title}: `{name}`", "", info.summary, ""]
    lines += [f"- Home page: <{info.homepage}>", f"- Licence: {info.licence}", f"- Cite: `{info.cite}`"]
    lines += [f"- How to get it: {guide['get']}", "", "```text", guide["folder"].rstrip(), "```", ""]
    counts = count_table(name)
    if counts:
        lines += ["Published counts:", "", "```text", *counts, "```", ""]
    lines += [*_option_lines(name), ""]
    if guide["traps"]:
        lines += ["Traps, and what is done about them:", "", *(f"- {trap}" for trap in guide["traps"]), ""]
    return "\n".join(lines)
