"""A sample of VisA: upper-case ``.JPG``, three or four digits, masks with class ids, CRLF in the split file."""

from __future__ import annotations

from pathlib import Path

from diadbench.datasets.samples.list_samples import write_meta
from diadbench.datasets.samples.paint import Painter, Record, Spec, touch

_THREE_DIGITS = ("capsules", "cashew", "chewinggum", "fryum", "pipe_fryum")


def write_visa(out: Path, spec: Spec, layout: str) -> list[Record]:
    """Write VisA: ``owner``, ``ader``, ``diad`` (raw), ``relaid`` (``1cls/``), ``anomalib`` (``visa_pytorch/``)."""
    painter = Painter(spec)
    if layout in ("relaid", "anomalib"):
        base = "1cls" if layout == "relaid" else "visa_pytorch"
        return [record for cls in spec.classes for record in _relaid(out, painter, base, cls)]
    base = "visa/" if layout == "diad" else ""
    records = [record for cls in spec.classes for record in _raw(out / base, painter, cls)]
    lines = ["object,split,label,image,mask"]
    for one in records:
        lines.append(f"{one.cls},{one.split},{'anomaly' if one.label else 'normal'},{one.image},{one.mask}")
    text = "\n".join(lines) + "\n"
    if layout == "diad":
        touch(out / "visa.csv", text)
    else:
        touch(out / "split_csv" / "1cls.csv", text.replace("\n", "\r\n"))
        touch(out / "split_csv" / "2cls_highshot.csv", "object,split,label,image,mask\r\n")
        touch(out / "LICENSE-DATASET", "synthetic sample")
    if layout == "ader":
        write_meta(out / "meta.json", records)
    return [record._replace(image=base + record.image, mask=record.mask and base + record.mask) for record in records]


def _raw(out: Path, painter: Painter, cls: str) -> list[Record]:
    spec = painter.spec
    records, labels = [], ["image,label,mask"]
    width = 3 if cls in _THREE_DIGITS else 4
    for i in range(spec.train + spec.good):
        image = f"{cls}/Data/Images/Normal/{i:0{width}d}.JPG"
        painter.image(out / image, cls, i)
        records.append(Record(image, "", cls, "train" if i < spec.train else "test", 0, "good"))
        labels.append(f"{image},normal,")
    for i in range(spec.bad):
        image, mask = f"{cls}/Data/Images/Anomaly/{i:03d}.JPG", f"{cls}/Data/Masks/Anomaly/{i:03d}.png"
        painter.image(out / image, cls, 300 + i, bad=True)
        painter.mask(out / mask, cls, 300 + i, value=1 + i % 9)
        records.append(Record(image, mask, cls, "test", 1, "bad"))
        labels.append(f"{image},bent,{mask}")
    touch(out / cls / "image_anno.csv", "\n".join(labels) + "\n")
    return records


def _relaid(out: Path, painter: Painter, base: str, cls: str) -> list[Record]:
    spec = painter.spec
    records = []
    plans = [("train", "good", spec.train, 0), ("test", "good", spec.good, 100), ("test", "bad", spec.bad, 300)]
    for split, kind, count, first in plans:
        for i in range(count):
            image, bad = f"{base}/{cls}/{split}/{kind}/{first + i:03d}.JPG", kind == "bad"
            painter.image(out / image, cls, first + i, bad=bad)
            mask = f"{base}/{cls}/ground_truth/bad/{first + i:03d}.png" if bad else ""
            if bad:
                painter.mask(out / mask, cls, first + i)
            records.append(Record(image, mask, cls, split, int(bad), kind))
    return records
