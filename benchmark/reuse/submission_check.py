"""Check the archive for MVTec's server for MVTec AD 2, as its own script does, before it is uploaded.

A submission holds ``anomaly_images/<object>/<split>/NNN_regular.tiff`` (two dimensions, float16) and, if it likes,
``anomaly_images_thresholded/<object>/<split>/NNN_regular.png`` (two dimensions, 0 and 255 alone), for all eight objects
and both private splits, and nothing else. Beyond the server's script, sizes are compared with the images', which the
server's evaluation needs.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from diadbench.common.errors import UserError
from diadbench.common.wording import some

MAPS, DECISIONS = "anomaly_images", "anomaly_images_thresholded"
SPLITS = {"test_private": "regular", "test_private_mixed": "mixed"}
_SUFFIX = {MAPS: ".tiff", DECISIONS: ".png"}
#: (object, split) -> stem of each image -> (H, W), or ``None`` if the size is unknown
Expected = Mapping[tuple[str, str], Mapping[str, tuple[int, int] | None]]
#: Name of a file of a submission, and a function that reads it.
_Entry = tuple[str, Callable[[], bytes]]


@dataclass(frozen=True)
class Checked:
    """What a check found in a submission that passed.

    Attributes:
        files: Number of files.
        notes: Warnings that the server would give.
    """

    files: int
    notes: tuple[str, ...] = ()


def check_submission(path: Path, expected: Expected) -> Checked:
    """Check a submission.

    Args:
        path: The submission's folder, or a ``.tar.gz`` whose files lie below one folder of any name.
        expected: The images that need a result.

    Raises:
        UserError: The first fault: a wrong name, a missing or surplus file, a wrong type or size.
    """
    wanted = _names(expected)
    with_decisions = False
    seen: set[str] = set()
    for name, read in _entries(path):
        _check_name(path, name, wanted)
        part = PurePosixPath(name)
        with_decisions |= part.parts[0] == DECISIONS
        if name in wanted:
            size = expected[part.parts[1], part.parts[2]][part.stem]
            (_check_map if part.parts[0] == MAPS else _check_decision)(f"{path}: {name}", read(), size)
            seen.add(name)
    needed = [name for name in sorted(wanted) if name.startswith(f"{MAPS}/") or with_decisions]
    missing = [name for name in needed if name not in seen]
    if missing:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise UserError(f"{path}: {missing[0]}{more}: missing; every private image needs its file")
    notes = () if with_decisions else (f"no {DECISIONS}: the server gives no SegF1 and ClassF1",)
    return Checked(len(seen), notes)


def _names(expected: Expected) -> set[str]:
    return {
        f"{kind}/{cls}/{split}/{stem}{suffix}"
        for kind, suffix in _SUFFIX.items()
        for (cls, split), stems in expected.items()
        for stem in stems
    }


def _check_name(path: Path, name: str, wanted: set[str]) -> None:
    """Refuse a file or folder that doesn't belong to a submission; list what is allowed there."""
    if name in wanted:
        return
    above = ""
    for part in name.rstrip("/").split("/"):
        known = sorted({each.removeprefix(above).partition("/")[0] for each in wanted if each.startswith(above)})
        if part not in known:
            shown = some(known) if len(known) <= len(SPLITS) else f"{known[0]} to {known[-1]}"
            raise UserError(f"{path}: {above}{part}: no part of a submission; expected {shown} there")
        above += f"{part}/"
    if not name.endswith("/"):
        raise UserError(f"{path}: {name}: a file; expected a folder")


def _entries(path: Path) -> Iterator[_Entry]:
    """Yield the files of a submission and its empty folders, by their names below it."""
    if path.is_dir():
        for each in sorted(path.rglob("*")):
            name = each.relative_to(path).as_posix()
            if each.is_file():
                yield name, each.read_bytes
            elif not any(each.iterdir()):
                yield f"{name}/", bytes
    elif path.is_file():
        yield from _archived(path)
    else:
        raise UserError(f"{path}: no such file or directory; expected the folder of a submission or its .tar.gz")


def _archived(path: Path) -> Iterator[_Entry]:
    try:
        with tarfile.open(path, "r:gz") as archive:
            folders: set[str] = set()
            for member in archive:
                folder, _, name = member.name.partition("/")
                folders.add(folder)
                if len(folders) > 1:
                    raise UserError(f"{path}: {member.name}: lies beside the one folder that an archive holds")
                if member.isfile():
                    if not name:
                        raise UserError(f"{path}: {member.name}: lies beside the one folder that an archive holds")
                    content = archive.extractfile(member)
                    assert content is not None
                    yield name, partial(bytes, content.read())  # Read here, where errors of the archive are caught.
                elif not member.isdir():
                    raise UserError(f"{path}: {member.name}: a link; expected plain files")
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise UserError(f"{path}: can't be read as a .tar.gz archive ({error}); make it again") from None


def _check_map(where: str, content: bytes, size: tuple[int, int] | None) -> None:
    try:
        values: NDArray[Any] = tifffile.imread(io.BytesIO(content))
    except Exception as error:  # tifffile raises many kinds of exceptions on a broken file.
        raise UserError(f"{where}: can't be read as TIFF ({error}); write it again") from None
    if values.dtype != np.float16:
        raise UserError(f"{where}: values of type {values.dtype}; expected float16")
    _check_size(where, values, size)
    if not np.isfinite(values).all():
        raise UserError(f"{where}: NaN or infinity in the map; expected finite values (float16 ends at 65,504)")


def _check_decision(where: str, content: bytes, size: tuple[int, int] | None) -> None:
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            values = np.asarray(image)
    except Exception as error:
        raise UserError(f"{where}: can't be read as PNG ({error}); write it again") from None
    _check_size(where, values, size)
    found = np.unique(values)
    if values.dtype != np.uint8 or not np.isin(found, (0, 255)).all():
        raise UserError(f"{where}: values {some(found, most=4)} of type {values.dtype}; expected 0 and 255")


def _check_size(where: str, values: NDArray[Any], size: tuple[int, int] | None) -> None:
    if values.ndim != 2:
        raise UserError(f"{where}: {values.ndim} dimensions; expected 2 (height, width)")
    if size is not None and values.shape != tuple(size):
        raise UserError(f"{where}: {values.shape[1]}x{values.shape[0]}; expected {size[1]}x{size[0]}, as its image")
