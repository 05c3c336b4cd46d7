"""Folder layouts that several datasets share, read as rows of the sample table."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from diadbench.common.errors import UserError, unknown_name
from diadbench.datasets.decoding.images import SUFFIXES, has_image_suffix, inside, is_hidden
from diadbench.datasets.decoding.lookalikes import check_encoding, shown
from diadbench.datasets.decoding.mask_files import read_mask

#: Maximum depth of folders among images, which also ends a link that leads into itself.
_DEEPEST = 6
#: Folders of these names hold masks.
MASK_FOLDERS = frozenset(("gt", "mask", "masks", "ground_truth", "groundtruth", "label", "labels", "anomaly_mask"))
#: Folders of these names don't hold images of samples; among images their meaning isn't clear.
_NO_IMAGES = MASK_FOLDERS | {"xyz", "depth", "train", "test"}
#: Folders whose names state a label, which may contradict their place.
_LABELS = frozenset(
    ("good", "ok", "normal", "bad", "ko", "ng", "defect", "defective", "anomaly", "anomalous", "abnormal")
)
_COUNTED = 1000


@dataclass(frozen=True)
class MvtecLayout:
    """Names of files and folders in a dataset in the style of MVTec-AD.

    ``<class>/train/<normal>/000.png``, ``<class>/test/<normal or defect>/000.png`` and
    ``<class>/<masks>/<defect>/000<mask_suffix>.png``.

    Attributes:
        normal: Names of the folder with normal images (``good``; BTAD has ``ok``).
        train: Folders with training images (``("train", "validation")`` for MVTec LOCO as ADer has it).
        test: Folder with test images.
        masks: Folder with masks.
        mask_suffixes: What follows an image's stem in the name of its mask. The first that exists is taken. A
            directory of that name stands for the union of the masks in it.
        has_masks: Whether anomalous test images must have masks.
        beside: Additional folders of a class in published datasets, which are not read by default.
        hint: Advice for missing masks, for the error text.
    """

    normal: tuple[str, ...] = ("good",)
    train: tuple[str, ...] = ("train",)
    test: str = "test"
    masks: str = "ground_truth"
    mask_suffixes: tuple[str, ...] = ("_mask", "")
    has_masks: bool = True
    beside: tuple[str, ...] = ("validation", "valid", "calibration")
    hint: str = "add it; for image metrics only, use dataset folder with masks=false"


def mvtec_layout(
    root: Path,
    *,
    known: Sequence[str] = (),
    only: Sequence[str] | None = None,
    layout: MvtecLayout | None = None,
) -> pd.DataFrame:
    """Index a directory in MVTec-AD's layout.

    Files that are not class folders (licence, lists, hidden files) are ignored. Images and masks are paired by stem,
    never by position.

    Args:
        root: Directory with a folder for each class.
        known: Class names that are allowed; empty allows any.
        only: Index these classes only.
        layout: Names of folders; ``None`` is MVTec-AD's own.

    Returns:
        Rows of the sample table, sorted by path.

    Raises:
        UserError: No class folder, an unknown one, a file that is no image among images, an anomalous test image
            without a mask, two files with one stem.
    """
    layout = layout or MvtecLayout()
    names = class_folders(root, known if only is None else (), layout)
    if only is not None:
        for name in only:
            if name not in names:
                raise unknown_name("class", name, names, where=str(root))
        names = [name for name in names if name in only]
    rows = [row for name in names for row in _class_rows(root, name, layout)]
    return pd.DataFrame(rows, columns=["image", "mask", "class", "split", "label", "defect"])


def class_folders(root: Path, known: Sequence[str] = (), layout: MvtecLayout | None = None) -> list[str]:
    """Return the names of the class folders of ``root``, sorted. See :func:`mvtec_layout`."""
    layout = layout or MvtecLayout()
    splits = (*layout.train, layout.test)
    folders = subfolders(root, "")
    found = [name for name in folders if any((root / name / split).is_dir() for split in splits)]
    if not found:
        if any(split in folders for split in splits):
            raise UserError(_splits_at_the_top(root, layout))
        raise UserError(f"{root}: no class folder found; expected <class>/{splits[0]}/{layout.normal[0]}/*.png")
    if known:
        for name in found:
            if name not in known:
                raise unknown_name("class folder", name, known, where=str(root))
    return found


def _splits_at_the_top(root: Path, layout: MvtecLayout) -> str:
    """Explain why a folder that contains ``train`` can't be read: it is one class, or its splits lie above classes."""
    train = next((split for split in layout.train if (root / split).is_dir()), layout.test)
    inner = [name for name in subfolders(root, train) if name not in layout.normal]
    inner += [name for normal in layout.normal for name in subfolders(root, f"{train}/{normal}")]
    if inner:
        return (
            f"{root}: {train} lies above the classes ({', '.join(inner[:3])}); expected <class>/{train}: move the "
            "folders, or use dataset folder, which reads both"
        )
    return f"{root}: this is the folder of one class; give the folder above it, {root.parent}, as root"


def subfolders(root: Path, relative: str) -> list[str]:
    """Return the names of the visible directories in ``root/relative``, sorted; empty when there is no such folder."""
    return [entry.name for entry in entries(inside(root, relative) if relative else root) if _is_dir(entry)]


def image_files(root: Path, relative: str, *, beside: Sequence[str] = (), depth: int = 0) -> list[str]:
    """Return the images in ``root/relative`` and in the folders among them, as paths relative to it, sorted.

    Images may lie in folders by lot, day or camera. Nothing is ignored silently.

    Args:
        root: The dataset's root.
        relative: Folder of images.
        beside: Names of folders that lie there and hold other files.
        depth: Depth of this folder below the first.

    Raises:
        UserError: A visible file is no image by its suffix, a folder's name says that it holds no images of samples
            (``gt``, ``xyz``), or folders are nested too deep.
    """
    names = []
    for entry in entries(inside(root, relative)):
        if _is_dir(entry):
            if entry.name not in beside:
                names += _nested(root, relative, entry.name, depth)
            continue
        if not has_image_suffix(entry.name):
            raise UserError(
                f"{Path(root, relative, entry.name)}: not an image of a known format (known: {' '.join(SUFFIXES)}); "
                "convert it, or move it out of the folder of images"
            )
        names.append(entry.name)
    return names


def _nested(root: Path, relative: str, name: str, depth: int) -> list[str]:
    place = Path(root, relative, name)
    if depth >= _DEEPEST:
        raise UserError(f"{place}: folders nested more than {_DEEPEST} deep among images; is there a link into itself?")
    if name.lower() in _NO_IMAGES:
        raise UserError(f"{place}: a folder {name} among images; expected images of samples only: move it out")
    if name.lower() in _LABELS:
        raise UserError(f"{place}: a folder whose name says a label, in a folder of another; move its images to one")
    return [f"{name}/{file}" for file in image_files(root, f"{relative}/{name}", depth=depth + 1)]


def no_loose_images(root: Path, relative: str, expected: str) -> None:
    """Refuse images in a folder where only folders are read, because they would be lost.

    Raises:
        UserError: The message names the first image and its expected place.
    """
    for entry in entries(inside(root, relative)):
        if not _is_dir(entry) and has_image_suffix(entry.name):
            raise UserError(f"{Path(root, relative, entry.name)}: an image beside folders; expected it in {expected}")


def stem_of(image: str) -> str:
    """Return an image's path without its suffix, in composed letters (NFC), by which its mask is found."""
    return unicodedata.normalize("NFC", os.path.splitext(image)[0])


def pair_by_stem(root: Path, folder: str, suffixes: Sequence[str]) -> dict[str, str]:
    """Map stems of images (:func:`stem_of`) to mask paths (relative to ``root``) for the masks in ``root/folder``.

    A mask is a file ``<stem><suffix>.<any image suffix>`` or a directory ``<stem><suffix>``. Earlier suffixes win.

    Raises:
        UserError: Two masks claim the same stem with the same suffix.
    """
    by_name: dict[str, str] = {}
    for entry in entries(inside(root, folder)):
        directory = _is_dir(entry)
        if not directory and not has_image_suffix(entry.name):
            continue
        stem = unicodedata.normalize("NFC", entry.name) if directory else stem_of(entry.name)
        if stem in by_name:
            raise UserError(
                f"{Path(root, folder)}: two masks with one stem, {by_name[stem]} and {entry.name}; keep one"
            )
        by_name[stem] = entry.name
    pairs: dict[str, str] = {}
    for suffix in suffixes:
        for stem, name in by_name.items():
            if stem.endswith(suffix):
                pairs.setdefault(stem[: len(stem) - len(suffix)], f"{folder}/{name}")
    return pairs


class MaskFinder:
    """Find the mask of an image, file by file. Folders of images have corresponding folders of masks.

    Args:
        root: The dataset's root.
        folder: Folder of the masks of one kind of defect.
        suffixes: What follows an image's stem in the name of its mask.
    """

    def __init__(self, root: Path, folder: str, suffixes: Sequence[str]) -> None:
        self._root, self._folder, self._suffixes = root, folder, suffixes
        self._pairs: dict[str, dict[str, str]] = {}

    def find(self, image: str, *, alone: bool = True) -> str:
        """Return the mask of an image (relative to the folder of images), or ``""``.

        ``alone``: No other image of this kind has its name, so its mask may also lie above its own folder.
        """
        place, _, name = stem_of(image).rpartition("/")
        found = self._in(place).get(name, "")
        return found or (self._in("").get(name, "") if place and alone else "")

    def _in(self, place: str) -> dict[str, str]:
        if place not in self._pairs:
            folder = f"{self._folder}/{place}" if place else self._folder
            self._pairs[place] = pair_by_stem(self._root, folder, self._suffixes)
        return self._pairs[place]

    def missing(self, place: Path, image: str, hint: str) -> UserError:
        """Return the error for an image without a mask: what was expected, what exists, and advice."""
        stem = os.path.splitext(image)[0]
        expected = Path(self._root, self._folder, f"{stem}{self._suffixes[0]}.png")
        found = self._found(stem_of(image))
        return UserError(f"{place}: anomalous test image without a mask; expected {expected}{found}: {hint}")

    def _found(self, stem: str) -> str:
        folder = Path(self._root, self._folder)
        if not folder.is_dir():
            known = [name for name in subfolders(folder.parent.parent, "") if _alike(name, folder.parent.name)]
            return f"; found {known[0]} (rename it; dataset folder takes mask_dir={known[0]} too)" if known else ""
        stem = stem.rpartition("/")[2]
        near = [name for entry in entries(folder) if (name := stem_of(entry.name)).startswith(stem)]
        suffix = near[0][len(stem) :] if near else ""
        return f"; found {near[0]} (rename it; dataset folder takes mask_suffix={suffix} too)" if suffix else ""


def _alike(name: str, expected: str) -> bool:
    plain = name.lower().replace("_", "").replace("-", "").replace(" ", "")
    return name != expected and plain in (expected.lower().replace("_", ""), "groundtruth", "gt", "mask", "masks")


def _class_rows(root: Path, name: str, layout: MvtecLayout) -> Iterator[tuple[str, str, str, str, int, str]]:
    empty = True
    for split in layout.train:
        no_loose_images(root, f"{name}/{split}", f"{root / name / split / layout.normal[0]}")
        for defect in subfolders(root, f"{name}/{split}"):
            if defect not in layout.normal:
                raise UserError(
                    f"{root / name / split / defect}: training images must be normal; expected only {layout.normal[0]}/"
                )
            for file in image_files(root, f"{name}/{split}/{defect}"):
                empty = False
                yield f"{name}/{split}/{defect}/{file}", "", name, "train", 0, "good"
    if empty:
        expected = root / name / layout.train[0] / layout.normal[0]
        raise UserError(f"class {name!r} has no training images; expected them in {expected}")
    no_loose_images(root, f"{name}/{layout.test}", f"{root / name / layout.test}/<{layout.normal[0]} or defect>")
    for defect in subfolders(root, f"{name}/{layout.test}"):
        images, masks = f"{name}/{layout.test}/{defect}", f"{name}/{layout.masks}/{defect}"
        yield from test_rows(root, images, masks, name, defect, layout)


def test_rows(
    root: Path, folder: str, mask_folder: str, name: str, defect: str, layout: MvtecLayout
) -> Iterator[tuple[str, str, str, str, int, str]]:
    """Yield the rows of one folder of test images of a class: normal ones, or one kind of defect with its masks.

    Raises:
        UserError: An anomalous image without a mask, two images that would share one, a file that is no image.
    """
    files = image_files(root, folder)
    masks = MaskFinder(root, mask_folder, layout.mask_suffixes)
    if defect in layout.normal:
        for file in files:
            yield f"{folder}/{file}", contradicting_mask(root, masks.find(file)), name, "test", 0, "good"
        return
    names = Counter(stem_of(file).rpartition("/")[2] for file in files)
    seen: dict[str, str] = {}
    for file in files:
        alone = names[stem_of(file).rpartition("/")[2]] == 1
        mask = masks.find(file, alone=alone) if layout.has_masks else ""
        if layout.has_masks and stem_of(file) in seen:
            raise UserError(f"{Path(root, folder)}: {seen[stem_of(file)]} and {file} would share one mask; rename one")
        if layout.has_masks and not mask:
            raise masks.missing(Path(root, folder, file), file, layout.hint)
        seen[stem_of(file)] = file
        yield f"{folder}/{file}", mask, name, "test", 1, defect


def contradicting_mask(root: Path, mask: str) -> str:
    """Return the mask of a normal image if it isn't empty, else ``""``; reading it is then refused."""
    if not mask:
        return ""
    try:
        return mask if read_mask(inside(root, mask)).any() else ""
    except UserError:
        return ""  # not needed


def unread_folders(folder: Path, *, layout: MvtecLayout, only: Sequence[str] | None = None) -> list[str]:
    """Return a line for each folder with images, beside and in the class folders, that this layout doesn't read."""
    splits = (*layout.train, layout.test)
    lines = []
    for name in subfolders(folder, ""):
        if any((folder / name / split).is_dir() for split in splits):
            inner = [one for one in subfolders(folder, name) if one not in (*splits, layout.masks, *layout.beside)]
            lines += [_unread(folder, f"{name}/{one}") for one in inner if only is None or name in only]
        else:
            lines.append(_unread(folder, name))
    return [line for line in lines if line]


def _unread(root: Path, folder: str) -> str:
    count = 0
    for _, _, files in os.walk(root / folder):
        count += sum(has_image_suffix(name) and not is_hidden(name) for name in files)
        if count >= _COUNTED:
            return f"{_COUNTED:,} or more images in {shown(folder)} were not read"
    return f"{count} images in {shown(folder)} were not read" if count else ""


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """List a folder without files of the operating system, sorted by name; a missing folder is empty.

    Raises:
        UserError: The folder can't be listed, or a name in it is no UTF-8.
    """
    try:
        with os.scandir(folder) as found:
            listed = sorted((entry for entry in found if not is_hidden(entry.name)), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"{folder}: can't be listed ({error.strerror})") from error
    for entry in listed:
        check_encoding(folder, entry.name)
    return listed


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        raise UserError(f"{entry.path}: {error.strerror}") from error
