"""The files of predictions on disk, and how interrupted predictions are resumed.

``predictions.jsonl`` gets a line for each image as soon as its map is kept. ``predictions.json`` states the model. It
also marks the directory as predictions, whose pictures are never read as images.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from diadbench.benchmark.reuse.photos import MARK, MARK_KEY, PICTURES, Photo, holds_predictions, output_names
from diadbench.common.cache.disk_space import writing
from diadbench.common.errors import UserError
from diadbench.common.files import read_json, write_json
from diadbench.version import __version__

#: Advice for a disk without room for predictions.
MOVE_OUT = "free some space, or write to another disk with --out"
Entry = dict[str, Any]


class Predictions:
    """A directory of predictions of one model.

    Args:
        out: The directory; it need not exist.
        model: What decides the predictions: plain values. Predictions of another model there are refused.
        size: ``(H, W)`` of the maps.

    Raises:
        UserError: The directory has predictions of another model, or other pictures.
    """

    def __init__(self, out: Path, model: Mapping[str, Any], size: tuple[int, int]) -> None:
        self.out, self._size = out, size
        known = read_json(out / MARK) or {}
        if known.get("model", dict(model)) != dict(model):
            raise UserError(f"{out}: holds predictions of another model ({known.get('cell')}); choose another --out")
        self._is_own = holds_predictions(out)
        for name in PICTURES:
            if not self._is_own and (out / name).is_dir() and any((out / name).iterdir()):
                raise UserError(f"{out / name}: is there and was not written by predict; choose another --out")
        self.head: Entry = {MARK_KEY: f"diadbench {__version__}", **known, "model": dict(model)}
        self.entries: dict[str, Entry] = {}
        self.names: dict[str, str] = {}

    @contextmanager
    def opened(self, photos: Collection[Photo]) -> Iterator[None]:
        """Lock the directory and load its predictions of these photos; discard those of other photos.

        Raises:
            UserError: Another process writes there, the disk is full, or the directory can't be written.
        """
        with writing(self.out, MOVE_OUT):
            self.out.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.out / ".lock")
            try:
                lock.acquire(blocking=False)
            except Timeout as error:
                raise UserError(f"{self.out}: another process predicts into it; choose another --out") from error
            try:
                self._recall(photos)
                yield
            finally:
                lock.release()

    def _recall(self, photos: Collection[Photo]) -> None:
        before = _read(self.out / "predictions.jsonl")
        wanted = {photo.image: photo for photo in photos}
        self.names = output_names(wanted.keys(), {image: entry["name"] for image, entry in before.items()})
        self.entries = {
            image: entry
            for image, entry in before.items()
            if image in wanted and entry["state"] == wanted[image].state() and self._is_whole(entry)
        }
        self.tell()
        kept = {entry["name"] for entry in self.entries.values()}
        for folder, suffix in (("maps", ".npy"), ("maps", ".png"), ("overlays", ".png")):
            for path in (self.out / folder).glob(f"*{suffix}"):
                if path.name.removesuffix(suffix) not in kept:
                    path.unlink()
        lines = [_line(entry) for entry in self.entries.values()]
        write_lines(self.out / "predictions.jsonl", lines)

    def _is_whole(self, entry: Entry) -> bool:
        """Whether an image's map exists with the right size. A broken image has no map."""
        if "broken" in entry:
            return True
        path = self.map_file(entry["name"])
        return path.is_file() and path.stat().st_size >= 4 * self._size[0] * self._size[1]

    def tell(self, **values: Any) -> None:
        """Write ``predictions.json`` with further values."""
        self.head |= values
        write_json(self.out / MARK, self.head)

    def map_file(self, name: str) -> Path:
        """Return where the map ``float32 (H,W)`` of an output name is."""
        return self.out / "maps" / f"{name}.npy"

    def keep(self, entries: Collection[Entry], maps: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Keep the entries of images, after their maps. After a kill each is either whole or absent."""
        for entry in entries:
            if entry["image"] in maps:
                replace_file(self.map_file(entry["name"]), partial(np.save, arr=maps[entry["image"]]))
        with open(self.out / "predictions.jsonl", "ab") as journal:
            journal.write(b"".join(map(_line, entries)))
        self.entries |= {entry["image"]: entry for entry in entries}

    def rescaled(self, low: float, high: float) -> None:
        """Set the limits that the pictures share. Pictures that were drawn with other limits are removed."""
        if self.head.get("scale", [low, high]) != [low, high]:
            shutil.rmtree(self.out / "overlays", ignore_errors=True)
            for path in (self.out / "maps").glob("*.png"):
                path.unlink()
        self.tell(scale=[low, high])


def _line(entry: Entry) -> bytes:
    return json.dumps(entry, ensure_ascii=True).encode() + b"\n"


def write_lines(path: Path, lines: list[bytes]) -> None:
    """Write a file of lines atomically."""
    replace_file(path, lambda file: file.write(b"".join(lines)))


def replace_file(path: Path, write: Any) -> None:
    """Let ``write(file)`` fill a temporary file, then rename it to ``path``. No fsync: a picture can be made again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "wb") as file:
        write(file)
    os.replace(temporary, path)


def _read(path: Path) -> dict[str, Entry]:
    """Return the entries of a journal by image. A line that a kill or a failing disk left broken is ignored."""
    lines = path.read_bytes().splitlines() if path.is_file() else []
    entries = filter(None, map(_entry_of, lines))
    return {entry["image"]: entry for entry in entries}


#: What an entry holds, and what it holds besides where the image was not broken.
_ALWAYS = {"image": str, "name": str, "state": list}
_PREDICTED = dict.fromkeys(("score", "map_min", "map_max"), float)


def _entry_of(line: bytes) -> Entry | None:
    """Return the entry of a line of the journal; ``None`` unless it is a whole one."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, dict):
        return None
    kinds = {**_ALWAYS, **({"broken": str} if "broken" in entry else _PREDICTED)}
    return entry if all(isinstance(entry.get(key), kind) for key, kind in kinds.items()) else None
