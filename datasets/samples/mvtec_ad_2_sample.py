"""A sample of MVTec AD 2: public images under several lights, validation images, private ones without labels."""

from __future__ import annotations

from pathlib import Path

from diadbench.datasets.samples.paint import Painter, Record, Spec, touch

#: Objects whose files have a single channel.
_GREY = ("sheet_metal", "vial", "wallplugs")
_LIGHTS = ("regular", "underexposed", "overexposed", "shift_1", "shift_2", "shift_3")


def write_mvtec_ad_2(out: Path, spec: Spec, layout: str) -> list[Record]:
    """Write MVTec AD 2 in its owner's layout."""
    painter = Painter(spec)
    touch(out / "license.txt", "synthetic sample, no licence needed\n")
    return [record for cls in spec.classes for record in _public(out, painter, cls)]


def _public(out: Path, painter: Painter, cls: str) -> list[Record]:
    spec, grey = painter.spec, cls in _GREY
    records = []
    kinds = [("train", "good", spec.train, 0), ("test_public", "good", spec.good, 300)]
    for split, kind, count, first in [*kinds, ("test_public", "bad", spec.bad, 400)]:
        for i in range(count):
            light = _LIGHTS[i % len(_LIGHTS)] if split == "test_public" else "regular"
            bad, key, stem = kind == "bad", first + i, f"{i:03d}_{light}"
            image = f"{cls}/{split}/{kind}/{stem}.png"
            painter.image(out / image, cls, key, bad=bad, grey=grey)
            mask = f"{cls}/{split}/ground_truth/bad/{stem}_mask.png" if bad else ""
            if bad:
                painter.mask(out / mask, cls, key)
            records.append(Record(image, mask, cls, split.partition("_")[0], int(bad), kind))
    for i in range(2):
        painter.image(out / f"{cls}/validation/good/{i:03d}_regular.png", cls, 500 + i, grey=grey)
    for i in range(3):
        for split, light in (("test_private", "regular"), ("test_private_mixed", "mixed")):
            painter.image(out / f"{cls}/{split}/{i:03d}_{light}.png", cls, 600 + i, bad=i == 2, grey=grey)
    return records
