"""KolektorSDD2: surfaces of one product with several kinds of defects; every image has a mask beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from diadbench.datasets.dataset_info import DatasetInfo
from diadbench.datasets.facts.known_sets import info
from diadbench.datasets.layouts.layout_search import Layout
from diadbench.datasets.sets.beside import Judged, LabelledByMasks, files_by_stem, pair, positive

#: Two files that the owner's archive holds by mistake, with the same bytes as 10301.png and 10301_GT.png.
COPIES = ("10301 (copy).png", "10301_GT (copy).png")
_CLASS = "kolektorsdd2"


class KolektorSdd2(LabelledByMasks):
    """KolektorSDD2 in its owner's layout. An image is anomalous if its mask has a positive pixel: nothing else tells.

    The anomalous images of the owner's training split are left out, since methods here train on normal images.
    See :class:`LayoutDataset` for the options.
    """

    info: ClassVar[DatasetInfo] = info("kolektorsdd2")
    no_samples: ClassVar[tuple[str, ...]] = tuple(f"train/{name}" for name in COPIES)

    def layouts(self) -> list[Layout]:
        """Return the layouts: the owner's folders."""
        about = "train/10000.png with train/10000_GT.png, and test"
        return [Layout("owner", about, _is_owner, self.read_judged)]

    def judged(self, folder: Path) -> Iterator[Judged]:
        """Yield the images of both splits; an image whose mask has a positive pixel is anomalous."""
        for split in ("train", "test"):
            pairs = pair(folder, files_by_stem(folder, split, stems=r"\d+(_GT)?", copies=COPIES), "_GT")
            bad = positive(folder, (mask for _, mask in pairs), self.reading)
            for image, mask in pairs:
                yield Judged(image, mask, mask in bad, _CLASS, split)


def _is_owner(folder: Path) -> bool:
    return all(any((folder / split).glob("*_GT.png")) for split in ("train", "test"))
