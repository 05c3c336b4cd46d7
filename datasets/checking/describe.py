"""Tell people about a dataset: what it is, where to get it, what its folder must look like, how it looks."""

from __future__ import annotations

import functools
import importlib.resources
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
from diadbench.datasets.facts.counts import published
from diadbench.datasets.facts.known_sets import CATALOG
from diadbench.datasets.layouts.roots import find_root, where
from diadbench.datasets.lookup import get

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
    facts["here"] = str(root) if root is not None else where(name, data_root)
    lines += [f"{key + ':':<11}{value}" for key, value in facts.items() if value]
    counts = count_table(name)
    lines += ["", *counts] if counts else []
    if "folder" in guide:
        lines += ["", "folder:", *("  " + line for line in guide["folder"].splitlines())]
    if guide.get("traps"):
        lines += ["", "traps:", *(f"  - {trap}" for trap in guide["traps"])]
    entry = bibtex("datasets", info.cite)
    return "\n".join([*lines, *(["", entry] if entry else [])])


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
    return "\n".join(_section(name) for name in guides())


def _section(name: str) -> str:
    info, guide = CATALOG[name].info, guides()[name]
    lines = [f"## {info.title}: `{name}`", "", info.summary, ""]
    lines += [f"- Home page: <{info.homepage}>", f"- Licence: {info.licence}", f"- Cite: `{info.cite}`"]
    lines += [f"- How to get it: {guide['get']}", "", "```text", guide["folder"].rstrip(), "```", ""]
    counts = count_table(name)
    if counts:
        lines += ["Published counts:", "", "```text", *counts, "```", ""]
    if guide["traps"]:
        lines += ["Traps, and what is done about them:", "", *(f"- {trap}" for trap in guide["traps"]), ""]
    return "\n".join(lines)
