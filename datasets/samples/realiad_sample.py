"""A sample of Real-IAD: five views per sample, normal views in ``NG`` folders, and its irregular paths."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from diadbench.datasets.facts.counts import real_iad_counts
from diadbench.datasets.samples.paint import Painter, Record, Spec, touch

VIEWS = 5
_CODES = ("AK", "BX", "CH", "HS", "PS", "QS", "YW", "ZW")
#: Views of an anomalous sample that show its defect; in the others it is invisible, and they are labelled ``OK``.
_VISIBLE = ((1, 1, 0, 1, 0), (1, 0, 0, 0, 0), (0, 1, 1, 1, 1))


def write_realiad(out: Path, spec: Spec, layout: str, *, full: bool = False) -> list[Record]:
    """Write Real-IAD: ``owner``, ``anomalib`` (JSONs in a doubled folder) or ``ader`` (JSONs beside the classes)."""
    painter = Painter(spec)
    jsons = {"owner": "realiad_jsons", "anomalib": "realiad_jsons/realiad_jsons", "ader": ""}[layout]
    archive = {"owner": "realiad_1024/", "anomalib": "realiad_256/", "ader": ""}[layout]
    records: list[Record] = []
    for cls in spec.classes:
        mine = list(_class(out / archive, painter, cls, full))
        lists: dict[str, list[dict[str, str | None]]] = {"train": [], "test": []}
        for one in mine:
            entry = {"category": cls, "anomaly_class": "OK" if not one.label else one.defect}
            paths = {"image_path": one.image, "mask_path": one.mask or None}
            lists[one.split].append({**entry, **paths})
        content = {"meta": {"prefix": f"{cls}/", "normal_class": "OK", "pre_transform": False}, **lists}
        touch(out / jsons / f"{cls}.json", json.dumps(content))
        for one in mine:
            image, mask = f"{archive}{cls}/{one.image}", one.mask and f"{archive}{cls}/{one.mask}"
            records.append(one._replace(image=image, mask=mask, sample=f"{archive}{cls}/{one.sample}"))
    return records


def _class(out: Path, painter: Painter, cls: str, full: bool) -> Iterator[Record]:
    """Write the images of one class. Paths of the records are relative to the class folder."""
    spec = painter.spec
    train, good, bad, visible = spec.train, spec.good, spec.bad, None
    if full:
        train, good, bad, visible = real_iad_counts(cls)
    for i in range(1, train + good + 1):
        stem = f"OK/S{i:04d}/{cls}_{i:04d}_OK"
        yield from _sample(out, painter, cls, stem, "OK", "train" if i <= train else "test", i, (0,) * VIEWS)
    hidden = 0 if visible is None else bad * VIEWS - visible
    for i in range(1, bad + 1):
        code = "QS" if cls == "fire_hood" and i == 2 else _CODES[i % len(_CODES)]
        shown: tuple[int, ...] = _VISIBLE[i % 3]
        if visible is not None:
            less = min(VIEWS - 1, hidden)
            hidden -= less
            shown = (1,) * (VIEWS - less) + (0,) * less
        yield from _sample(out, painter, cls, _odd_stem(cls, code, i), code, "test", train + good + i, shown)


def _odd_stem(cls: str, code: str, i: int) -> str:
    """Return a sample's folder and the beginning of its file names; some real ones break the rule."""
    if cls == "vcpill" and i == 1:
        return f"NG/{code}/S141/{cls}_0141_NG_{code}"
    if cls == "fire_hood" and i == 2:  # lies in HS, but is named and labelled QS
        return f"NG/HS/S0131/{cls}_0131_NG_{code}"
    underscores = "__" if cls in ("audiojack", "plastic_plug") else "_"
    return f"NG/{code}/S{i:04d}/{cls}{underscores}{i:04d}_NG_{code}"


def _sample(
    out: Path, painter: Painter, cls: str, stem: str, code: str, split: str, key: int, shown: tuple[int, ...]
) -> Iterator[Record]:
    for view in range(1, VIEWS + 1):
        name = f"{stem}_C{view}_202310{key % 28 + 1:02d}1302{view:02d}"
        image, bad = f"{name}.jpg", bool(shown[view - 1])
        number = key * VIEWS + view
        painter.image(out / cls / image, cls, number, bad=bad)
        if bad:
            painter.mask(out / cls / f"{name}.png", cls, number)
        defect = code if bad else "good"
        yield Record(image, f"{name}.png" if bad else "", cls, split, int(bad), defect, stem, f"C{view}")
