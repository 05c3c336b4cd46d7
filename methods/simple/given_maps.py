"""Anomaly maps that anyone's code has written into a folder, scored as any other method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from diadbench.common.errors import UserError
from diadbench.common.files import write_json
from diadbench.common.wording import counted, some
from diadbench.methods.base import Prediction, RunContext, SampleMethod
from diadbench.methods.catalog import CATALOG
from diadbench.methods.features.origin import add
from diadbench.methods.simple.map_files import SUFFIXES, MapHead, read_head, read_map
from diadbench.methods.simple.map_places import TABLE, MapPlaces, find_maps

if TYPE_CHECKING:
    import pandas as pd

    from diadbench.datasets.decoding.data import TrainData

#: How many names an error or a note gives.
_FIRST = 3
#: What is lost in maps of these types, by their names.
_COARSE = {
    "uint8": "of 8 bits: at most 256 different values, equal ones rank as ties",
    "uint16": "of 16 bits: at most 65536 different values, equal ones rank as ties",
    "float16": "float16: 11 significant bits, close values rank as ties",
}
_EXACT = ("float32", "int8", "int16")


class GivenMaps(SampleMethod):
    """Reads the anomaly maps of a data set's test images from a folder.

    A map is found by a table (``image,map[,score]``, as ``diadbench predict`` writes it), or by its path without the
    suffix: that of the image, or ``<class>/<split>/<defect>/<name>``, each also below ``anomaly_images`` as in archives
    for MVTec's server. Files are ``.npy``, ``.tiff`` or ``.png``, one map each, larger values more anomalous. Maps of
    another size than that of the evaluation are resized (bilinear, as all maps are). A test image without a map is an
    error; maps of no image are named in a note. What the folder holds is part of the cell's identity.

    Thresholds are set on normal images: where the folder has maps of the training images too (32 of each class at even
    steps are read) or of the validation images of sets that have some, on these; else they are undefined.

    Args:
        folder: Folder of the maps, a path with a ``/`` in it.
        table: Table, if it isn't the folder's ``scores.csv``: a path, or a name in the folder.
        image_score: ``table``: the table's column ``score``. ``max``: the largest value of the map as the file has it.
            ``top``: the mean of its largest values. ``auto``: ``table`` where there are scores, else ``max``.
        top_share: How much of the map ``top`` takes, above 0 up to 1.
    """

    info = CATALOG["maps"].info

    def __init__(
        self,
        folder: str = "",
        table: str = "",
        image_score: Literal["auto", "table", "max", "top"] = "auto",
        top_share: float = 0.01,
    ) -> None:
        if not 0 < top_share <= 1:
            raise UserError(f"maps: top_share must be above 0 and at most 1, got {top_share}")
        self.folder = Path(folder)
        self.table = (Path(folder) / table) if table else None
        self.image_score = image_score
        self.top_share = top_share
        self._places = MapPlaces()

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse a folder that is no path, whose contents would be no part of the cell's identity."""
        folder = options["folder"]
        if not folder:
            raise UserError("maps: give the folder of the anomaly maps as the option folder")
        if not Path(folder).is_absolute():
            raise UserError(f"maps: folder: {folder!r} is no path of a folder that exists; is it ./{folder}?")
        if not Path(folder).is_dir():
            raise UserError(f"maps: folder: {folder}: no such folder")

    def fit(self, train: TrainData, run: RunContext) -> None:
        """Nothing is learned."""

    def save(self, directory: Path) -> None:
        """Write where the maps lie; they stay there."""
        write_json(directory / "maps.json", {"folder": str(self.folder)})

    def load(self, directory: Path, run: RunContext) -> None:
        """Nothing is read: options say where the maps lie."""

    def _what_is_there(self) -> str:
        """Return what else the folder holds, for an error, if it has no maps at all."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
        kinds = Counter(path.suffix.lower() or "without a suffix" for path in files)
        if kinds.keys() & set(SUFFIXES):
            return ""
        most = f"{kinds.most_common(1)[0][1]} files {kinds.most_common(1)[0][0]}" if kinds else "nothing"
        return f"it holds {most}, maps are {', '.join(SUFFIXES)}; "

    # -- what will be asked -------------------------------------------------------------------------------------

    def expect(self, samples: pd.DataFrame, part: pd.DataFrame, size: tuple[int, int], run: RunContext) -> None:
        """Find all maps, refuse missing ones, and say what the maps are."""
        self._find(samples)
        images = [str(name) for name in part["image"]]
        missing = [name for name in images if not self._is_there(name)]
        if missing:
            raise UserError(
                f"maps: {self.folder} has no map for {len(missing)} of {len(images)} test images "
                f"({some(missing, most=_FIRST)}); {self._what_is_there()}every test image needs one"
            )
        add(run.notes, [*self._notes(), *_told([read_head(self._places.files[name]) for name in images], size)])

    def _find(self, samples: pd.DataFrame) -> None:
        if not self._places.how:
            self._places = find_maps(self.folder, self.table, samples)
            if self.image_score == "table" and not self._places.scores:
                raise UserError(f"maps: image_score is table, but {self.table or self.folder / TABLE} has no scores")

    def _is_there(self, image: str) -> bool:
        return image in self._places.files and self._places.files[image].is_file()

    def _notes(self) -> list[str]:
        found = self._places
        notes = [f"maps made elsewhere, {found.how}", f"image score: {self._score_text()}"]
        if found.beside:
            notes.append(f"{found.beside} images have maps in several files; .npy is taken before .tiff before .png")
        if found.extra:
            are = "map of no image of the data set is", "maps of no image of the data set are"
            notes.append(f"{counted(len(found.extra), *are)} left out ({some(found.extra, most=_FIRST)})")
        return notes

    def _score_text(self) -> str:
        if self._kind() == "table":
            return "as the table of the maps says"
        return "largest value of the map" if self._kind() == "max" else f"mean of the top {self.top_share:g} of the map"

    def _kind(self) -> str:
        if self.image_score != "auto":
            return self.image_score
        return "table" if self._places.scores else "max"

    # -- answers ------------------------------------------------------------------------------------------------

    def has_answers(self, samples: pd.DataFrame) -> bool:
        """Whether there is a map for each of these rows."""
        if not self._places.how:
            return False
        return all(self._is_there(str(name)) for name in samples["image"])

    def predict_samples(self, samples: pd.DataFrame, size: tuple[int, int]) -> Prediction:
        """Read the maps of these rows."""
        read = [(str(name), torch.from_numpy(read_map(self._places.files[str(name)]))) for name in samples["image"]]
        scores = [self._score(name, values) for name, values in read]
        maps = torch.stack([_resized(values, size) for _, values in read])
        return Prediction(maps, torch.tensor(scores, dtype=torch.float32))

    def _score(self, image: str, values: Tensor) -> float:
        kind = self._kind()
        if kind == "table":
            return self._places.scores[image]
        if kind == "max":
            return float(values.max())
        count = max(1, round(self.top_share * values.numel()))
        return float(np.sort(values.numpy(), axis=None)[-count:].astype(np.float64).mean())


def _resized(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring a map ``(h,w)`` to the evaluation size, as the maps of all methods are brought to it."""
    if tuple(values.shape) == size:
        return values
    return torch.nn.functional.interpolate(values[None, None], size, mode="bilinear", align_corners=False)[0, 0]


def _told(heads: Sequence[MapHead], size: tuple[int, int]) -> list[str]:
    """Say which maps are resized, and what the types of their files lose."""
    count = len(heads)
    notes = []
    others = Counter(head.size for head in heads if head.size != size)
    if others:
        sizes = ", ".join(f"{height}x{width}" for (height, width), _ in others.most_common(_FIRST))
        more = f" and {counted(len(others) - _FIRST, 'other size')}" if len(others) > _FIRST else ""
        notes.append(f"{sum(others.values())} of {count} maps ({sizes}{more}) are resized to {size[0]}x{size[1]}")
    kinds = Counter(head.dtype for head in heads if head.dtype not in _EXACT)
    for dtype, number in sorted(kinds.items()):
        notes.append(f"{number} of {count} maps are {_COARSE.get(dtype, f'{dtype}, rounded to float32')}")
    return notes
