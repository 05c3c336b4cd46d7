"""Samples of the sets whose masks lie beside the images: KolektorSDD, KolektorSDD2, DAGM."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diadbench.datasets.samples.paint import Painter, Record, Spec, touch
from diadbench.datasets.sets.kolektorsdd import TRAIN_SHARE

_PARTS = 8


def write_kolektorsdd(out: Path, spec: Spec, layout: str) -> list[Record]:
    """Write KolektorSDD: eight images a commutator, each with a mask. Its adapter draws the split, so this does too."""
    painter, cls = Painter(spec), spec.classes[0]
    normal, images = spec.train + spec.good, []
    for i in range(normal + spec.bad):
        image = f"kos{i // _PARTS + 1:02d}/Part{i % _PARTS}.jpg"
        painter.image(out / image, cls, i, bad=i >= normal, grey=True)
        painter.mask(out / image.replace(".jpg", "_label.bmp"), cls, i, empty=i < normal)
        images.append(image)
    bad = [Record(image, image.replace(".jpg", "_label.bmp"), cls, "test", 1, "defect") for image in images[normal:]]
    drawn = np.random.default_rng(0).permutation(images[:normal]).tolist()
    count = round(normal * TRAIN_SHARE)
    train = [Record(image, "", cls, "train", 0, "good") for image in drawn[:count]]
    return [*train, *(Record(image, "", cls, "test", 0, "good") for image in drawn[count:]), *bad]


def write_kolektorsdd2(out: Path, spec: Spec, layout: str) -> list[Record]:
    """Write KolektorSDD2, with anomalous training images and with the two copies that the owner's archive holds."""
    painter, cls = Painter(spec), spec.classes[0]
    records, number = [], 10300
    kinds = [("train", 0, spec.train), ("train", 1, 2), ("test", 0, spec.good), ("test", 1, spec.bad)]
    for split, label, count in kinds:
        number = max(number, 20000) if split == "test" else number
        for _ in range(count):
            image, mask = f"{split}/{number}.png", f"{split}/{number}_GT.png"
            painter.image(out / image, cls, number, bad=bool(label))
            painter.mask(out / mask, cls, number, empty=not label)
            if not (split == "train" and label):
                records.append(Record(image, mask if label else "", cls, split, label, "defect" if label else "good"))
            number += 1
    for name in ("10301", "10301_GT"):
        touch(out / f"train/{name} (copy).png", (out / f"train/{name}.png").read_bytes())
    touch(out / "split_weakly_0.pyb")
    return records


def write_dagm(out: Path, spec: Spec, layout: str) -> list[Record]:
    """Write DAGM: test images are numbered from 1, training images go on; ``Labels.txt`` lists each folder's images."""
    painter = Painter(spec)
    records: list[Record] = []
    for cls in spec.classes:
        number = 1
        for split, good, bad in (("Test", spec.good, spec.bad), ("Train", spec.train, 1)):
            lines = ["1"]
            for i in range(good + bad):
                stem, label = f"{number:04d}", int(i >= good)
                image, mask = f"{cls}/{split}/{stem}.PNG", f"{cls}/{split}/Label/{stem}_label.PNG"
                painter.image(out / image, cls, number, bad=bool(label), grey=True)
                if label:
                    painter.mask(out / mask, cls, number)
                lines.append(f"{number}\t{label}\t{stem}.PNG\t0\t{f'{stem}_label.PNG' if label else '0'}")
                if not (split == "Train" and label):
                    kind = "defect" if label else "good"
                    records.append(Record(image, mask if label else "", cls, split.lower(), label, kind))
                number += 1
            touch(out / cls / split / "Label" / "Labels.txt", "\r\n".join([*lines, ""]))
        touch(out / cls / "Train" / "Thumbs.db", b"\0")
    return records
