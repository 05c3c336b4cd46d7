"""Find the images to predict in files and folders, without hidden files, other files and predictions."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from diadbench.common.errors import UserError
from diadbench.common.files import read_json
from diadbench.common.wording import some
from diadbench.datasets.decoding.images import SUFFIXES, has_image_suffix, is_hidden
from diadbench.datasets.decoding.lookalikes import is_utf8

#: The file that marks a directory of predictions, and the key that only this file has.
MARK, MARK_KEY = "predictions.json", "predicted_by"
#: Folders in a directory of predictions that contain pictures.
PICTURES = ("maps", "overlays")
#: Maximum length of a file name in bytes, less the suffixes added to it; file systems accept 255.
LONGEST_NAME = 180


@dataclass(frozen=True)
class Photo:
    """An image file.

    Attributes:
        path: Where it lies.
        image: Name in tables: the path below the given folder, with ``/``.
    """

    path: Path
    image: str

    def state(self) -> list[int]:
        """Return size and date of the file, which identify the same picture; -1 for a file that isn't there."""
        try:
            found = self.path.stat()
        except OSError:  # a link that leads nowhere, or removed meanwhile; reading it gives the reason
            return [-1, -1]
        return [found.st_size, found.st_mtime_ns]


@dataclass
class Photos:
    """The images found.

    Attributes:
        photos: The images, in order of their names; each file once.
        passed_over: Number of files left out, by reason: ``hidden``, ``no image``, ``folders of
            predictions``, ``with a name that isn't UTF-8``.
    """

    photos: list[Photo] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)


def find_photos(given: Sequence[Path], out: Path) -> Photos:
    """Find all images in the given files and folders.

    A file that is given itself is accepted with any name. In folders, hidden files, files without the suffix of an
    image, and folders with predictions are passed over and counted.

    Args:
        given: Files and folders; folders are read with all below them.
        out: Directory for the predictions; pictures in it are not read.

    Raises:
        UserError: A path doesn't exist or is part of predictions, or there is no image at all.
    """
    missing = [path for path in given if not path.exists()]
    if missing:
        raise UserError(f"{some(missing)}: no such file or directory; give images or folders of images")
    for path in given:
        _check(path)
    found = Photos()
    base = _base(given)
    seen: set[str] = set()
    for top in given:
        for path in [top] if top.is_file() else _below(top, out, found.passed_over):
            real = os.path.realpath(path)
            if real not in seen:
                seen.add(real)
                found.photos.append(Photo(path, Path(os.path.abspath(path)).relative_to(base).as_posix()))
    if not found.photos:
        told = _counts(found.passed_over)
        raise UserError(f"{some(given)}: no images ({', '.join(SUFFIXES)}) in it{told and f'; {told}'}")
    found.photos.sort(key=lambda photo: photo.image)
    return found


def _counts(passed_over: Mapping[str, int]) -> str:
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(passed_over.items()))
    return f"passed over: {told}" if told else ""


def _check(path: Path) -> None:
    here = Path(os.path.abspath(path))
    for folder in (here, *here.parents):
        if folder.name in PICTURES and holds_predictions(folder.parent):
            raise UserError(f"{path}: pictures that predict wrote into {folder.parent}; give the images themselves")


def _base(given: Sequence[Path]) -> Path:
    """Return the folder that names of images are relative to: the given one, or the common parent of all."""
    folders = [Path(os.path.abspath(path if path.is_dir() else path.parent)) for path in given]
    return Path(os.path.commonpath(folders))


def _below(top: Path, out: Path, passed_over: Counter[str]) -> Iterator[Path]:
    """Yield the image files below a folder. Links to folders are followed; each folder is read once."""
    visited: set[str] = set()
    own = os.path.realpath(out)
    for folder, below, names in os.walk(top, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:
            below.clear()
            continue
        visited.add(real)
        strange = [name for name in (*names, *below) if not is_utf8(name)]
        names, below[:] = (
            [name for name in names if name not in strange],
            [name for name in below if name not in strange],
        )
        shown = [name for name in names if not is_hidden(name)]
        images = sorted(filter(has_image_suffix, shown))
        written = PICTURES if real == own or holds_predictions(Path(folder)) else ()
        left = {
            "hidden": sum(map(is_hidden, (*below, *names))),
            "no image": len(shown) - len(images),
            "folders of predictions": sum(name in written for name in below),
            "with a name that isn't UTF-8": len(strange),
        }
        passed_over.update({reason: count for reason, count in left.items() if count})
        below[:] = sorted(name for name in below if not is_hidden(name) and name not in written)
        yield from (Path(folder, name) for name in images)


def holds_predictions(folder: Path) -> bool:
    """Whether a folder contains predictions. Earlier versions left no mark but the files themselves."""
    if (folder / MARK).is_file():
        return MARK_KEY in (read_json(folder / MARK) or {})
    return (folder / "scores.csv").is_file() and all((folder / name).is_dir() for name in PICTURES)


def output_names(images: Collection[str], taken: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a file name without a suffix for each image; no two are equal, even on systems that ignore case.

    ``line A/0001.png`` becomes ``line A__0001``. Where two images would share a name (``a.png`` and ``a.jpg``) both
    keep their suffixes; where these are equal too (``x/y.png`` and ``x__y.png``) a number is added.

    Args:
        images: Names of images, relative paths with ``/``.
        taken: Names that images already have; they keep them.
    """
    found = {image: name for image, name in (taken or {}).items() if image in images}
    used = {name.casefold() for name in found.values()}
    flat = {image: _fitting(image.replace("/", "__")) for image in sorted(images)}
    stems = Counter(_stem(name).casefold() for name in flat.values())
    for image, name in flat.items():
        if image not in found:
            stem = _stem(name)
            found[image] = _free(stem if stems[stem.casefold()] == 1 else name, name, used)
            used.add(found[image].casefold())
    return found


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _fitting(name: str) -> str:
    """Return a name that a file system accepts: a long one is cut and made unique by a digest of the whole."""
    if len(os.fsencode(name)) <= LONGEST_NAME:
        return name
    stem, suffix = os.path.splitext(name)
    kept = os.fsencode(stem)[: LONGEST_NAME - 20].decode(errors="ignore")
    return f"{kept}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}{suffix}"


def _free(wish: str, name: str, used: set[str]) -> str:
    """Return the first form of a name that is not used yet."""
    for form in (wish, name):
        if form.casefold() not in used:
            return form
    number = 2
    while f"{name}-{number}".casefold() in used:
        number += 1
    return f"{name}-{number}"
