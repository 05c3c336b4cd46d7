"""Samples of the datasets in the style of MVTec-AD: MVTec-AD, MVTec-3D, MVTec-LOCO, BTAD, MPDD, Uni-Medical."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from diadbench.datasets.samples.list_samples import write_lines, write_meta
from diadbench.datasets.samples.paint import Painter, Record, Spec, touch

#: Classes of MVTec-AD whose images have a single channel.
_GREY = ("grid", "screw", "zipper")


@dataclass(frozen=True)
class Names:
    """Names of files and folders.

    Attributes:
        normal: Folder of normal images.
        defects: Folders of anomalous images.
        suffix: Suffix of images.
        mask: What follows the stem in a mask's name.
        digits: Digits in the names.
        odd: Classes with other conventions: name, suffix of images, text after the stem in a mask's name.
    """

    normal: str = "good"
    defects: tuple[str, ...] = ("broken", "scratch")
    suffix: str = ".png"
    mask: str = "_mask.png"
    digits: int = 3
    odd: tuple[tuple[str, str, str], ...] = ()

    def of(self, cls: str) -> Names:
        """Return the names of one class."""
        odd = [(suffix, mask) for name, suffix, mask in self.odd if name == cls]
        return replace(self, suffix=odd[0][0], mask=odd[0][1]) if odd else self


#: BTAD: images of product 02 are PNG, masks of product 03 are BMP.
_BTAD_ODD = (("02", ".png", ".png"), ("03", ".bmp", ".bmp"))
_NAMES = {
    "mpdd": Names(defects=("hole", "scratches")),
    "btad": Names(normal="ok", defects=("ko",), suffix=".bmp", mask=".png", digits=4, odd=_BTAD_ODD),
    "3cad": Names(defects=("scratch", "pit"), mask=".png"),
    "unimedical": Names(defects=("Ungood",), mask=".png"),
    "mvtec_loco": Names(defects=("logical_anomalies", "structural_anomalies"), mask=""),
}


def folders(out: Path, painter: Painter, names: Names, cls: str) -> Iterator[Record]:
    """Write one class: ``train/good``, ``test/<kind>``, ``ground_truth/<defect>``."""
    spec, names = painter.spec, names.of(cls)
    for i in range(spec.train):
        yield _normal(out, painter, names, cls, "train", i, i)
    for i in range(spec.good):
        yield _normal(out, painter, names, cls, "test", i, spec.train + i)
    for i in range(spec.bad):
        defect = "defective" if cls == "toothbrush" else names.defects[i % len(names.defects)]
        stem = f"{i // len(names.defects):0{names.digits}d}" if cls != "toothbrush" else f"{i:0{names.digits}d}"
        key = spec.train + spec.good + i
        image = f"{cls}/test/{defect}/{stem}{names.suffix}"
        painter.image(out / image, cls, key, bad=True, grey=cls in _GREY)
        mask = f"{cls}/ground_truth/{defect}/{stem}{names.mask}"
        painter.mask(out / mask if names.mask else out / mask / "000.png", cls, key)
        if not names.mask:  # MVTec LOCO has a folder of masks per image, with values that name the defect.
            painter.mask(out / mask / "001.png", f"{cls} again", key, value=137)
        yield Record(image, mask, cls, "test", 1, defect)


def _normal(out: Path, painter: Painter, names: Names, cls: str, split: str, i: int, key: int) -> Record:
    image = f"{cls}/{split}/{names.normal}/{i:0{names.digits}d}{names.suffix}"
    painter.image(out / image, cls, key, grey=cls in _GREY)
    return Record(image, "", cls, split, 0, "good")


def stray(out: Path, cls: str) -> None:
    """Put files beside the classes that real copies of the dataset contain."""
    touch(out / "license.txt", "synthetic sample, no licence needed\n")
    touch(out / "readme.txt", "synthetic sample\n")
    touch(out / cls / "train" / "good" / ".DS_Store", b"\0\0\0\1Bud1")


def write_mvtec(out: Path, spec: Spec, layout: str) -> list[Record]:
    """Write MVTec-AD: ``owner``, ``ader`` (``meta.json``), ``diad`` and ``uniad`` (JSON lines above the images)."""
    painter = Painter(spec)
    images = out / "mvtec_anomaly_detection" if layout in ("diad", "uniad") else out
    records = [record for cls in spec.classes for record in folders(images, painter, Names(), cls)]
    stray(images, spec.classes[0])
    if layout == "ader":
        write_meta(out / "meta.json", records)
    if layout in ("diad", "uniad"):
        write_lines(out / "train.json", out / "test.json", records)
    if layout == "uniad":
        touch(out / "json_vis_decoder" / "train_bottle.json", "")
    base = "mvtec_anomaly_detection/" if images != out else ""
    return [record._replace(image=base + record.image, mask=record.mask and base + record.mask) for record in records]


def write_folders(name: str, out: Path, spec: Spec, layout: str) -> list[Record]:
    """Write MPDD, BTAD, MVTec-LOCO or Uni-Medical in its owner's or ADer's layout."""
    painter, names = Painter(spec), _NAMES[name]
    records = [record for cls in spec.classes for record in folders(out, painter, names, cls)]
    if name == "mvtec_loco":
        for cls in spec.classes:
            for i in range(2):
                painter.image(out / cls / "validation" / "good" / f"{i:03d}.png", cls, 500 + i)
            touch(out / cls / "defects_config.json", "[]")
    if layout == "ader":
        first = [
            record._replace(mask=f"{record.mask}/000.png") if _is_folder(record, names) else record
            for record in records
        ]
        write_meta(out / "meta.json", first)
    return records


def _is_folder(record: Record, names: Names) -> bool:
    return bool(record.mask) and not names.mask


def write_mvtec3d(out: Path, spec: Spec, layout: str) -> list[Record]:
    """Write MVTec-3D: masks inside the test folders, xyz scans, all-zero masks of normal images, validation images."""
    painter = Painter(spec)
    records: list[Record] = []
    validation: list[Record] = []
    for cls in spec.classes:
        touch(out / cls / "calibration" / "camera_parameters.json", "{}")
        kinds = [("train", "good", spec.train, 0), ("validation", "good", 2, 200), ("test", "good", spec.good, 300)]
        kinds += [("test", "hole", spec.bad - spec.bad // 2, 400), ("test", "combined", spec.bad // 2, 500)]
        for split, defect, count, first in kinds:
            for i in range(count):
                record = _scan(out, painter, cls, f"{cls}/{split}/{defect}", i, first + i)
                (validation if split == "validation" else records).append(record)
    if layout == "ader":
        write_meta(out / "meta.json", [*records, *validation], splits=("train", "test", "validation"))
    if layout == "diad":
        write_lines(out / "mvtec3d_train.json", out / "mvtec3d_test.json", records)
    return records


def _scan(out: Path, painter: Painter, cls: str, place: str, i: int, key: int) -> Record:
    import tifffile

    split, defect = place.split("/")[1:]
    bad = defect != "good"
    image = f"{place}/rgb/{i:03d}.png"
    painter.image(out / image, cls, key, bad=bad)
    height, width = painter.shape(key)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    xyz = np.stack([x, y, np.full_like(x, 0.5) - painter.blot(cls, key) * np.float32(0.1 * bad)], axis=2)
    xyz[:2] = 0  # no measurement
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, xyz, photometric="minisblack", planarconfig="contig")
    touch(out / place / "xyz" / f"{i:03d}.tiff", buffer.getvalue())
    mask = f"{place}/gt/{i:03d}.png" if split == "test" else ""
    if mask:
        painter.mask(out / mask, cls, key, empty=not bad)
    return Record(image, mask if bad else "", cls, "test" if split == "test" else "train", int(bad), defect)


def write_unimedical(out: Path, spec: Spec, layout: str) -> list[Record]:
    """Write Uni-Medical: ``owner`` and ``ader`` are ADer's archive, ``bmad`` and ``anomalib`` BMAD's folders."""
    if layout in ("owner", "ader"):
        return write_folders("unimedical", out, spec, layout)
    painter = Painter(spec)
    names = {"brain": "Brain", "liver": "Liver", "retinal": "Retina_RESC"}
    masks, level = ("anomaly_mask", "img/") if layout == "bmad" else ("label", "")
    records = []
    for cls in spec.classes:
        top = names[cls]
        plans = [("train", "good", spec.train, 0, level), ("test", "good", spec.good, 300, "img/")]
        plans += [("test", "Ungood", spec.bad, 400, "img/"), ("valid", "good", 1, 600, "img/")]
        plans += [("valid", "Ungood", 1, 700, "img/")]
        for split, kind, count, first, images in plans:
            for i in range(count):
                image = f"{top}/{split}/{kind}/{images}{first + i:05d}.png"
                bad = kind == "Ungood"
                painter.image(out / image, cls, first + i, bad=bad)
                mask = f"{top}/{split}/{kind}/{masks}/{first + i:05d}.png"
                if split != "train":
                    painter.mask(out / mask, cls, first + i, empty=not bad)
                if split != "valid":
                    records.append(Record(image, mask if bad else "", cls, split, int(bad), kind if bad else "good"))
    painter.image(out / "Chest" / "train" / "good" / "img" / "00001.png", "chest", 0)  # of BMAD, not of Uni-Medical
    painter.image(out / "Chest" / "test" / "Ungood" / "img" / "00001.png", "chest", 1, bad=True)
    return records
