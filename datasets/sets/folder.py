"""Your own data, with any class names: lists, MVTec-AD's folders, splits above classes, one class, named folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import pandas as pd

from diadbench.common.errors import UserError
from diadbench.datasets.dataset_info import DatasetInfo
from diadbench.datasets.decoding.lookalikes import shown
from diadbench.datasets.decoding.reading import MaskOptions
from diadbench.datasets.facts.known_sets import info
from diadbench.datasets.layouts.detect import LayoutDataset
from diadbench.datasets.layouts.folder_scan import subfolders
from diadbench.datasets.layouts.folders import MvtecLayout, mvtec_layout, unread_folders
from diadbench.datasets.layouts.layout_search import Layout, ader, lines, table
from diadbench.datasets.layouts.list_places import WHOLE_FLAG, has_mask_folder, whole_masks, whole_masks_dir
from diadbench.datasets.layouts.own_folders import (
    Directories,
    directories,
    directory_classes,
    is_one_class,
    is_split_above,
    one_class,
    split_above,
    unread_directories,
    unread_masks,
)


class Folder(LayoutDataset):
    """Your own data, with any class names. A list that is there decides; else folders are read.

    Lists: ``train.json`` and ``test.json`` (JSON lines or arrays, as DiAD and UniAD have them), ADer's ``meta.json``,
    or a CSV file with the columns ``path,class,split,label,mask``. Folders: ``<class>/{train,test}/good``,
    ``<class>/test/<defect>`` and ``<class>/ground_truth/<defect>``; the same with the splits above the classes; or of
    one class alone, which is called like the root folder.

    Args:
        root: Directory with a folder for each class, or with lists.
        classes: Keep these classes only, in this order; ``None`` keeps all, in alphabetical order.
        masks: Whether anomalous test images have masks (``<stem>_mask.png`` or ``<stem>.png``). Without masks, pixel
            and region metrics are undefined. ``{threshold: 127, invert: true}``, either or both: mask values above it
            are anomalous (0 to 254), and masks show what is normal.
        normal: Name of the folder with normal images.
        title: Name in tables; ``None`` is the name of the root folder.
        layout: ``auto`` finds out; a name takes that one. ``splits`` are splits above classes; ``directories`` comes
            with ``normal_dir``.
        normal_dir: Folder of normal images, as in anomalib's ``Folder``; below the root, or below each class's folder.
        abnormal_dir: Folder or folders of anomalous images, likewise.
        normal_test_dir: Folder of normal test images; ``None`` holds ``test_split_ratio`` of ``normal_dir`` out.
        mask_dir: Folder of masks: with ``abnormal_dir`` one, or one for each; else the name of the folder of masks of a
            class, ``ground_truth`` where it isn't named.
        mask_suffix: What follows an image's stem in the name of its mask; ``None`` tries ``_mask`` and nothing.
        test_split_ratio: Share of the normal images that is held out for the test, in (0,1).
        seed: Decides which are held out. Splits don't follow the grid's seeds: all seeds of a method are tested alike.
        bit_depth: Bits that 16-bit images use, 8 to 16; ``None`` finds it over the whole set, and tables say it.
    """

    info: ClassVar[DatasetInfo] = info("folder")
    depth: ClassVar[int] = 0
    _whole = False
    nothing: ClassVar[str] = "no class folder found, and no list of samples"

    def __init__(
        self,
        root: Path | str | None = None,
        *,
        classes: Sequence[str] | None = None,
        masks: bool | MaskOptions = True,
        normal: str = "good",
        title: str | None = None,
        layout: str = "auto",
        normal_dir: str | list[str] | None = None,
        abnormal_dir: str | list[str] | None = None,
        normal_test_dir: str | list[str] | None = None,
        mask_dir: str | list[str] | None = None,
        mask_suffix: str | None = None,
        test_split_ratio: float = 0.2,
        seed: int = 0,
        bit_depth: int | None = None,
    ) -> None:
        if not normal or "/" in normal:
            raise UserError(f"dataset 'folder': normal {normal!r}; expected the name of a folder, such as 'good'")
        if not 0 < test_split_ratio < 1:
            raise UserError(
                f"dataset 'folder': test_split_ratio {test_split_ratio}; expected more than 0 and less than 1"
            )
        if seed < 0:
            raise UserError(f"dataset 'folder': seed is {seed}; expected 0 or more")
        suffixes = ("_mask", "") if mask_suffix is None else (mask_suffix,)
        self._has_masks = has_masks = masks is not False
        self._directories = None
        if normal_dir is not None:
            self._directories = Directories(
                normal=_names(normal_dir, "normal_dir"),
                abnormal=_names(abnormal_dir, "abnormal_dir"),
                normal_test=_names(normal_test_dir, "normal_test_dir"),
                mask=_names(mask_dir, "mask_dir"),
                suffixes=suffixes,
                ratio=test_split_ratio,
                seed=seed,
                has_masks=has_masks,
            )
            self._directories_make_sense()
        elif abnormal_dir is not None or normal_test_dir is not None:
            raise UserError("dataset 'folder': abnormal_dir and normal_test_dir need normal_dir: name it too")
        hint = "add it, or set masks=false for image metrics only"
        mask_names = _names(mask_dir, "mask_dir") if normal_dir is None else ()
        self._folders = MvtecLayout(
            normal=(normal,),
            masks=(*mask_names, "ground_truth")[0],
            mask_suffixes=suffixes,
            has_masks=has_masks,
            beside=(),
            hint=hint,
            takes_normal=True,
        )
        values = None if isinstance(masks, bool) else masks
        super().__init__(root, classes=classes, layout=layout, masks=values, bit_depth=bit_depth)
        self.info = replace(type(self).info, title=title or self._root_name(), has_masks=has_masks)  # type: ignore[misc]

    def _directories_make_sense(self) -> None:
        wanted = self._directories
        if wanted is not None and len(wanted.mask) not in (0, 1, len(wanted.abnormal)):
            raise UserError(
                f"dataset 'folder': {len(wanted.mask)} mask_dir for {len(wanted.abnormal)} abnormal_dir; expected one, "
                "or one for each"
            )

    def _root_name(self) -> str:
        return shown(self._root.resolve().name) if self._root else type(self).info.title

    def layouts(self) -> list[Layout]:
        """Return the layouts: lists, then folders: those named by options, MVTec's, splits above classes, one class."""
        return [
            *([self._directory_layout()] if self._directories is not None else []),
            ader(),
            lines(("train.json", "test.json"), flag="samples listed by JSON lines"),
            table(flag="samples listed by a CSV file"),
            *([] if self._directories is not None else self._folder_layouts()),
        ]

    def _directory_layout(self) -> Layout:
        assert self._directories is not None
        wanted = self._directories

        def read(root: Path, base: str) -> pd.DataFrame:
            return directories(root, self._root_name(), wanted, self._wanted)

        def matches(folder: Path) -> bool:
            return bool(directory_classes(folder, wanted))

        share = f"{wanted.ratio:g} of the normal images held out for the test, seed {wanted.seed}"
        flag = "" if wanted.normal_test else share
        unread = partial(unread_directories, wanted=wanted, only=self._wanted)
        return Layout("directories", f"a folder {wanted.normal[0]} (normal_dir)", matches, read, flag, unread=unread)

    def _folder_layouts(self) -> list[Layout]:
        own, wanted = self._folders, self._wanted
        about = f"class folders, <class>/train/{own.normal[0]}/*.png"
        above = f"train/{own.normal[0]}/<class>"
        return [
            Layout(
                "folders",
                about,
                lambda folder: _has_classes(folder, own),
                lambda root, base: mvtec_layout(root, only=wanted, layout=own),
                unread=partial(unread_folders, layout=own, only=wanted),
            ),
            Layout(
                "splits",
                above,
                lambda folder: is_split_above(folder, own),
                lambda root, base: split_above(root, own),
                "splits lie above the classes",
                unread=partial(unread_masks, layout=own),
            ),
            Layout(
                "one-class",
                f"train/{own.normal[0]}",
                lambda folder: is_one_class(folder, own),
                lambda root, base: one_class(root, self._root_name(), own),
                unread=partial(unread_masks, layout=own),
            ),
        ]

    def index(self) -> pd.DataFrame:
        """Build the sample table from the list or the folders found. Without masks, no mask paths are set.

        JSON lines that name no mask at all, as UniAD allows, get the whole image as the mask of an anomalous one,
        unless a folder of masks lies beside the images.
        """
        found = self.found
        self._whole = False
        if self._has_masks and found.lists is not None and found.lists.names_no_masks():
            listed = found.lists.read(self.root, found.layout.train)
            self._whole = not has_mask_folder(listed, self.root)
            if self._whole:
                return listed.assign(mask=whole_masks(listed, self.root))
        made = super().index()
        return made if self._has_masks else made.assign(mask="")

    @property
    def masks_made_whole(self) -> bool:
        """Whether the list names no masks, so that each mask is the whole image."""
        return self._whole

    @property
    def mask_root(self) -> Path:
        """Return the directory that masks are relative to: the root, or that of generated whole-image masks."""
        return whole_masks_dir() if self._whole else self.root

    @property
    def flags(self) -> tuple[str, ...]:
        """Return the dataset's notes; if the list names no masks, also what is used as mask."""
        found = super().flags
        return (*found, *((WHOLE_FLAG,) if self._whole else ()))


def _names(folders: str | list[str] | None, option: str) -> tuple[str, ...]:
    """Return the folders that an option names."""
    names = (folders,) if isinstance(folders, str) else tuple(folders or ())
    for name in names:
        if not isinstance(name, str) or not name.strip("/"):
            raise UserError(f"dataset 'folder': {option} {name!r}; expected the name of a folder, such as 'good'")
    return tuple(name.strip("/") for name in names)


def _has_classes(folder: Path, layout: MvtecLayout) -> bool:
    splits = (*layout.train, layout.test)
    return any((folder / name / split).is_dir() for name in subfolders(folder, "") for split in splits)
