"""Real-IAD: thirty classes, five views of each sample. Labels come from the owner's JSONs, never from folder names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import pandas as pd

from diadbench.common.errors import UserError, unknown_name
from diadbench.common.wording import counted, some
from diadbench.datasets.dataset_info import DatasetInfo
from diadbench.datasets.decoding.reading import MaskOptions
from diadbench.datasets.facts.known_sets import info
from diadbench.datasets.layouts.advice import doubled, not_there
from diadbench.datasets.layouts.detect import LayoutDataset
from diadbench.datasets.layouts.folder_scan import subfolders
from diadbench.datasets.layouts.indices import below, load_json
from diadbench.datasets.layouts.layout_search import Layout, joined

Resolution = Literal["auto", "raw", "1024", "512", "256"]
Views = Literal["multi", "single"]
#: ``auto`` takes the first of these that exists; at the usual 256 px the raw images only cost time.
_ORDER = ("1024", "512", "256", "raw")
_RECORD = ("category", "anomaly_class", "image_path", "mask_path")
_JSONS = {"multi": "realiad_jsons", "single": "realiad_jsons_sv"}
#: ``.../audiojack_0001_NG_BX_C1_2023.jpg``: the text before the view identifies the physical sample.
_VIEW = r"^(?P<sample>.*)_(?P<view>C\d)_[^/]*$"


class RealIad(LayoutDataset):
    """Real-IAD in its owner's layout (either nesting of the JSONs, any resolution) and in ADer's.

    Args:
        root: Directory with ``realiad_jsons`` and ``realiad_1024`` (or another resolution); in ADer's layout the
            directory with ``<class>.json`` beside ``<class>/``.
        classes: Keep these classes only, in this order; ``None`` keeps all, in alphabetical order.
        layout: ``auto`` finds out which layout is there; a name takes that one.
        resolution: Which archive of images is read. ``auto`` takes 1024, 512, 256 or raw: the first that is there.
        views: ``multi``: the multi-view lists that every published multi-class figure uses. ``single``: the lists of
            ``realiad_jsons_sv``, camera C1 only.
    """

    info: ClassVar[DatasetInfo] = info("realiad")

    def __init__(
        self,
        root: Path | str | None = None,
        *,
        classes: Sequence[str] | None = None,
        layout: str = "auto",
        masks: MaskOptions | None = None,
        bit_depth: int | None = None,
        resolution: Resolution = "auto",
        views: Views = "multi",
    ) -> None:
        resolution = str(resolution)  # type: ignore[assignment]  # YAML's 1024 is a number
        for what, value, known in (
            ("resolution", resolution, get_args(Resolution)),
            ("views", views, get_args(Views)),
        ):
            if value not in known:
                raise unknown_name(what, value, known, where="dataset 'realiad'")
        self._resolution = resolution
        self._views: Views = views
        super().__init__(root, classes=classes, layout=layout, masks=masks, bit_depth=bit_depth)

    def layouts(self) -> list[Layout]:
        """Return the layouts: the owner's folders, ADer's flat one."""
        jsons = _JSONS[self._views]
        return [
            Layout("owner", f"{jsons}/<class>.json", lambda folder: self._jsons(folder) is not None, self._read),
            Layout("ader", "<class>.json beside <class>/", self._is_ader, self._read),
        ]

    @property
    def flags(self) -> tuple[str, ...]:
        """Return the dataset's notes, the archive of the images, and the views."""
        archive = self._archive(self.root, self.found.base)
        notes = (f"images of {archive.rpartition('/')[2]}",) if archive != self.found.base else ()
        return (*super().flags, *notes, *(("single view",) if self._views == "single" else ()))

    @property
    def has_published_split(self) -> bool:
        """Whether the lists are the multi-view ones."""
        return self._views == "multi"

    def _is_ader(self, folder: Path) -> bool:
        if not self._has_class_json(folder):
            return False
        there = set(subfolders(folder, ""))
        return bool(there & set(self.info.classes)) or any(name.startswith("realiad_") for name in there)

    def _has_class_json(self, folder: Path) -> bool:
        return any((folder / f"{name}.json").is_file() for name in self.info.classes)

    def _jsons(self, folder: Path) -> Path | None:
        """Return the folder of the JSONs, which is doubled when the zip is unpacked."""
        name = _JSONS[self._views]
        found = [place for place in (folder / name, folder / name / name) if self._has_class_json(place)]
        return found[0] if found else None

    def _read(self, root: Path, base: str) -> pd.DataFrame:
        jsons = self._jsons(root / base)
        jsons = jsons if jsons is not None and self.found.layout.name == "owner" else root / base
        names = [name for name in self.info.classes if (jsons / f"{name}.json").is_file()]
        if self._wanted is not None:
            for name in self._wanted:
                if name in self.info.classes and name not in names:
                    raise UserError(f"{jsons / f'{name}.json'}: file not found; Real-IAD's classes are listed there")
            names = [name for name in names if name in self._wanted]
        archive = self._archive(root, base)
        names = self._with_images(names, root, archive)
        return pd.concat([read_class(jsons / f"{name}.json", name, archive) for name in names], ignore_index=True)

    def _with_images(self, names: list[str], root: Path, archive: str) -> list[str]:
        """Return the classes with a folder of images: the owner's lists come in one zip, images class by class.

        Raises:
            UserError: A class that was asked for has none.
        """
        for name in names:
            if twice := doubled(root, [joined(archive, name)]):
                raise UserError(f"{root / archive / name}: {twice}")
        self._without = [name for name in names if not (root / archive / name).is_dir()]
        asked = [name for name in self._without if name in (self._wanted or ())]
        if asked:
            raise UserError(
                f"{root / archive / asked[0]}: no such folder; the class {asked[0]!r} is listed: get its images"
            )
        return [name for name in names if name not in self._without]

    @property
    def unread(self) -> tuple[str, ...]:
        """Return what was not read; also the classes whose lists are there without a folder of images."""
        _ = self.samples
        cases = not_there(self.root / self._archive(self.root, self.found.base), self._without)
        there = self.samples["class"].unique()
        folder = self._archive(self.root, self.found.base)
        text = counted(len(self._without), "class is listed and has", "classes are listed and have")
        told = f"{text} no folder in {folder or 'the root'}: {some(self._without)}"
        bare = [name for name in self.info.classes if name not in there and (self.root / folder / name).is_dir()]
        bare = bare if self._wanted is None else []
        lists = f"{counted(len(bare), 'class has', 'classes have')} images and no list: {some(bare)}"
        return (*super().unread, *cases, *((told,) if self._without else ()), *((lists,) if bare else ()))

    _without: Sequence[str] = ()

    def place_of(self, path: str) -> str:
        """Return the JSON and the record that name a path of the sample table."""
        if self.found.layout.name != "owner":
            return super().place_of(path)
        archive = self._archive(self.root, self.found.base)
        name = path.removeprefix(f"{archive}/").partition("/")[0]
        if name not in self._places_of_classes:  # Many files may be missing, and a class has thousands of records.
            self._places_of_classes[name] = self._places_in(name, archive)
        return self._places_of_classes[name].get(path, "")

    @cached_property
    def _places_of_classes(self) -> dict[str, dict[str, str]]:
        return {}

    def _places_in(self, name: str, archive: str) -> dict[str, str]:
        """Return where the JSON of a class names each image and mask, by its path relative to the root."""
        base = self.root / self.found.base
        file = (self._jsons(base) or base) / f"{name}.json"
        content = load_json(file)
        prefix = content["meta"].get("prefix", f"{name}/")
        return {
            joined(archive, f"{prefix}{record[key]}"): f"{file}: {split}[{i}]"
            for split in ("train", "test")
            for i, record in enumerate(content[split])
            for key in ("mask_path", "image_path")
            if record[key]
        }

    def _archive(self, root: Path, base: str) -> str:
        """Return the folder, relative to the root, that holds the class folders of images."""
        wanted = _ORDER if self._resolution == "auto" else (self._resolution,)
        places = [joined(base, f"realiad_{size}") for size in wanted]
        places += [joined(place, place.rpartition("/")[2]) for place in places]
        if self._resolution == "auto":
            places.append(base)
        for place in places:
            if any((root / place / name).is_dir() for name in self.info.classes):
                return place
        raise UserError(
            f"{root / base}: no folder of images; expected {some(f'realiad_{size}/<class>' for size in wanted)}"
        )


def read_class(path: Path, name: str, archive: str = "") -> pd.DataFrame:
    """Read the owner's list of one class.

    Args:
        path: ``<class>.json`` with ``meta``, ``train`` and ``test``.
        name: The class.
        archive: Folder of images, relative to the dataset's root.

    Returns:
        Rows of the sample table. ``label`` is the record's: 23 % of the test images are normal views in ``NG/``.

    Raises:
        UserError: Broken JSON, missing keys, another class, a mask for a normal image or none for an anomalous one.
    """
    content = load_json(path)
    meta = content.get("meta") if isinstance(content, dict) else None
    if not isinstance(meta, dict) or not all(isinstance(content.get(split), list) for split in ("train", "test")):
        raise UserError(f"{path}: expected an object with meta, train and test")
    prefix, normal = meta.get("prefix", f"{name}/"), meta.get("normal_class", "OK")
    if not isinstance(prefix, str) or not isinstance(normal, str):
        raise UserError(f"{path}: meta: expected texts prefix and normal_class")
    for split in ("train", "test"):
        if not content[split]:
            raise UserError(f"{path}: {split}: the list is empty; get the JSON again")
    frames = [_records(content[split], split, path) for split in ("train", "test")]
    table = pd.concat(frames, ignore_index=True)
    wrong = table[table["category"] != name]
    if len(wrong):
        raise UserError(
            f"{path}: {wrong['image_path'].iloc[0]}: category {wrong['category'].iloc[0]!r}; expected {name!r}"
        )
    label = table["anomaly_class"] != normal
    _check_masks(table, label, path)
    image = below(prefix + table["image_path"], archive)
    parts = image.str.extract(_VIEW)
    if parts["view"].isna().any():
        raise UserError(f"{path}: {image[parts['view'].isna()].iloc[0]}: no view C1..C5 in the name of the file")
    return pd.DataFrame(
        {
            "image": image,
            "mask": below((prefix + table["mask_path"]).where(label, ""), archive),
            "class": name,
            "split": table["split"],
            "label": label.astype("int8"),
            "defect": table["anomaly_class"].where(label, "good"),
            "sample_id": parts["sample"],
            "view": parts["view"],
        }
    )


def _records(records: list[Any], split: str, path: Path) -> pd.DataFrame:
    for i, record in enumerate(records):
        if not isinstance(record, dict) or not all(key in record for key in _RECORD):
            raise UserError(f"{path}: {split}[{i}]: expected a record with {', '.join(_RECORD)}")
        for key in ("category", "anomaly_class"):
            if not isinstance(record[key], str):
                raise UserError(f"{path}: {split}[{i}]: {key} {record[key]!r}; expected text")
        if not isinstance(record["image_path"], str) or not record["image_path"]:
            raise UserError(f"{path}: {split}[{i}]: image_path {record['image_path']!r}; expected a path")
    table = pd.DataFrame(records, columns=list(_RECORD), dtype="object").assign(split=split)
    table["mask_path"] = table["mask_path"].where(table["mask_path"].notna(), "")
    return table.astype("str")


def _check_masks(table: pd.DataFrame, label: pd.Series[bool], path: Path) -> None:
    for wrong, text in (
        (table[label & (table["mask_path"] == "")], "is anomalous and has no mask_path"),
        (table[~label & (table["mask_path"] != "")], "is normal and has a mask_path"),
    ):
        if len(wrong):
            raise UserError(f"{path}: {wrong['image_path'].iloc[0]} {text} ({counted(len(wrong), 'such record')})")
