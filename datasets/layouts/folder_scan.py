"""What lies in a folder: its images, the folders in it, the mask of an image. Every reader of folders uses this one."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from diadbench.common.errors import UserError
from diadbench.common.wording import some
from diadbench.datasets.decoding.images import SUFFIXES, has_image_suffix, inside, is_hidden
from diadbench.datasets.decoding.lookalikes import check_encoding, shown
from diadbench.datasets.decoding.mask_files import read_mask

#: Maximum depth of folders among images, which also ends a link that leads into itself.
_DEEPEST = 6
#: The stem of a mask that is named after its image, ``000_mask``.
_MASK_OF = re.compile(r"(.+?)[ ._-]+(?:masks?|gt|seg|segmentation|ground_?truth)", re.IGNORECASE)
#: Folders of these names hold masks.
MASK_FOLDERS = frozenset(("gt", "mask", "masks", "ground_truth", "groundtruth", "label", "labels", "anomaly_mask"))
#: Folders of these names don't hold images of samples; among images their meaning isn't clear.
_NO_IMAGES = MASK_FOLDERS | {"xyz", "depth", "train", "test"}
#: Folders whose names state a label, which may contradict their place.
_LABELS = frozenset(
    ("good", "ok", "normal", "bad", "ko", "ng", "defect", "defective", "anomaly", "anomalous", "abnormal")
)


def subfolders(root: Path, relative: str) -> list[str]:
    """Return the names of the visible directories in ``root/relative``, sorted; empty when there is no such folder."""
    return [entry.name for entry in entries(inside(root, relative) if relative else root) if is_dir(entry)]


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
        if is_dir(entry):
            if entry.name not in beside:
                names += _nested(root, relative, entry.name, depth)
            continue
        if not has_image_suffix(entry.name):
            raise UserError(
                f"{shown(Path(root, relative, entry.name))}: not an image of a known format (known: "
                f"{' '.join(SUFFIXES)}); convert it, or move it out of the folder of images"
            )
        names.append(entry.name)
    _no_masks_among(root, relative, names)
    return names


def _no_masks_among(root: Path, relative: str, names: Sequence[str]) -> None:
    """Refuse masks that lie beside their images: each would count as an image."""
    images = {os.path.splitext(os.path.basename(name))[0] for name in names}
    for name in names:
        stem = os.path.splitext(os.path.basename(name))[0]
        owner = _MASK_OF.fullmatch(stem)
        if owner and owner[1] in images:
            raise UserError(
                f"{shown(Path(root, relative, name))}: by its name the mask of {shown(owner[1])} beside it; expected "
                "images alone: move masks into folders of their own, such as ground_truth/<defect>"
            )


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
        if not is_dir(entry) and has_image_suffix(entry.name):
            raise UserError(f"{Path(root, relative, entry.name)}: an image beside folders; expected it in {expected}")


def stem_of(image: str) -> str:
    """Return an image's path without its suffix, in composed letters (NFC), by which its mask is found."""
    return nfc(os.path.splitext(image)[0])


def nfc(name: str) -> str:
    """Return a name in composed letters."""
    return unicodedata.normalize("NFC", name)


def pair_by_stem(root: Path, folder: str, suffixes: Sequence[str]) -> dict[str, str]:
    """Map stems of images (:func:`stem_of`) to mask paths (relative to ``root``) for the masks in ``root/folder``.

    A mask is a file ``<stem><suffix>.<any image suffix>`` or a directory ``<stem><suffix>``. Earlier suffixes win.

    Raises:
        UserError: Two masks claim the same stem with the same suffix.
    """
    by_name: dict[str, str] = {}
    for entry in entries(inside(root, folder)):
        directory = is_dir(entry)
        if not directory and not has_image_suffix(entry.name):
            continue
        stem = nfc(entry.name) if directory else stem_of(entry.name)
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
        self._root, self._folder, self._suffixes = root, on_disk(root, folder), suffixes
        self._pairs: dict[str, dict[str, str]] = {}
        self._taken: dict[str, str] = {}

    def find(self, image: str, *, alone: bool = True) -> str:
        """Return the mask of an image (relative to the folder of images), or ``""``.

        ``alone``: No other image of this kind has its name, so its mask may also lie above its own folder.
        """
        place, _, name = stem_of(image).rpartition("/")
        found = self._in(place).get(name, "") or (self._in("").get(name, "") if place and alone else "")
        if found:
            self._taken[found] = image
        return found

    def second(self, images: Sequence[str]) -> list[str]:
        """Return the masks that were not taken and by their names belong to images that have one (``000_mask_2.png``).

        Args:
            images: All images.
        """
        for image in images:
            self.find(image)
        found = []
        stems = {stem_of(image).rpartition("/")[2] for image in images}
        owners = {stem_of(image).rpartition("/")[2] for image in self._taken.values()}
        for place in list(self._pairs):
            folder = on_disk(self._root, f"{self._folder}/{place}") if place else self._folder
            for entry in entries(inside(self._root, folder)):
                path, stem = f"{folder}/{entry.name}", stem_of(entry.name)
                if path in self._taken or is_dir(entry) or not has_image_suffix(entry.name):
                    continue
                owner = max((one for one in stems if _is_of(stem, one)), key=len, default="")
                if owner in owners:
                    found.append(path)
        return found

    def _in(self, place: str) -> dict[str, str]:
        if place not in self._pairs:
            folder = on_disk(self._root, f"{self._folder}/{place}") if place else self._folder
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
        stem = stem.rpartition("/")[2]
        if not folder.is_dir():
            return self._found_instead_of(folder, stem)
        there = [entry.name for entry in entries(folder)]
        names = [name for name in there if _is_of(stem_of(name), stem)]
        near = [stem_of(name) for name in names if has_image_suffix(name)]
        if not names:
            return f"; found {_listed(there)} in {shown(folder)}"
        if not near:
            return f"; found {names[0]}, not an image of a known format (convert it to PNG)"
        if len(near) > 1:
            return (
                f"; found {near[0]} and {near[1]} (put all masks of the image into a folder {stem}{self._suffixes[0]})"
            )
        suffix = near[0][len(stem) :]
        return f"; found {near[0]} (rename it; dataset folder takes mask_suffix={suffix} too)" if suffix else ""

    def _found_instead_of(self, folder: Path, stem: str) -> str:
        """Return what lies where a folder of masks is missing: one of another name, or the masks themselves."""
        above = folder.parent
        if not above.is_dir():
            known = [name for name in subfolders(above.parent, "") if _alike(name, above.name)]
            return f"; found {known[0]} (rename it; dataset folder takes mask_dir={known[0]} too)" if known else ""
        there = entries(above)
        flat = [entry.name for entry in there if has_image_suffix(entry.name) and _is_of(stem_of(entry.name), stem)]
        if flat:
            return f"; found {flat[0]} in {shown(above)} (move it into a folder {folder.name} there)"
        near = [entry.name for entry in there if is_dir(entry) and _plain(entry.name) == _plain(folder.name)]
        if near:
            return f"; found the folder {shown(near[0])!r} (rename it to {folder.name!r})"
        return f"; found {_listed([entry.name for entry in there])} in {shown(above)}"


def _listed(names: Sequence[str]) -> str:
    return shown(some(names, most=3, room=60)) or "nothing"


def _plain(name: str) -> str:
    """Return the name of a folder without what people and programs add to it: case, spaces, ``_mask``."""
    return re.sub(r"[ _-]+(?:masks?|gt)$", "", nfc(name).casefold().strip())


def _is_of(mask: str, image: str) -> bool:
    """Whether a mask by its stem may belong to an image: it begins with the image's stem as a whole word."""
    return mask.startswith(image) and (mask == image or not mask[len(image)].isalnum())


def _alike(name: str, expected: str) -> bool:
    plain = name.lower().replace("-", "_").replace(" ", "_")
    return name != expected and (plain == expected.lower() or plain in MASK_FOLDERS)


def on_disk(root: Path, relative: str) -> str:
    """Return a path below the root as the disk spells it, if its letters are composed (NFC) there in another way.

    A path that exists, or of which nothing like it exists, is returned unchanged.
    """
    if not relative or relative.isascii() or (root / relative).exists():
        return relative
    parts: list[str] = []
    for part in relative.split("/"):
        names = [entry.name for entry in entries(root.joinpath(*parts))]
        parts.append(next((one for one in names if nfc(one) == nfc(part)), part))
    return "/".join(parts)


def contradicting_mask(root: Path, mask: str) -> str:
    """Return the mask of a normal image if it isn't empty, else ``""``; reading it is then refused."""
    if not mask:
        return ""
    try:
        return mask if read_mask(inside(root, mask)).any() else ""
    except UserError:
        return ""  # not needed


def entries(folder: Path, *, must_exist: bool = False) -> list[os.DirEntry[str]]:
    """List a folder without files of the operating system, sorted by name; a missing folder is empty.

    Raises:
        UserError: The folder can't be listed, is missing though it must exist, or a name in it is no UTF-8.
    """
    try:
        with os.scandir(folder) as found:
            listed = sorted((entry for entry in found if not is_hidden(entry.name)), key=lambda entry: entry.name)
    except OSError as error:
        if isinstance(error, (FileNotFoundError, NotADirectoryError)) and not must_exist:
            return []
        raise UserError(f"{folder}: can't be listed ({error.strerror})") from error
    for entry in listed:
        check_encoding(folder, entry.name)
    return listed


def is_dir(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one. Raises UserError for a link into itself."""
    try:
        return entry.is_dir()
    except OSError as error:
        raise UserError(f"{entry.path}: {error.strerror}") from error
