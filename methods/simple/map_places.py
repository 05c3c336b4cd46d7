"""Which file of a folder is the anomaly map of which sample: by a table, or by where it lies."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from diadbench.common.errors import UserError
from diadbench.common.wording import some
from diadbench.methods.simple.map_files import SUFFIXES

#: Table that is looked for in the folder itself; ``diadbench predict`` writes one.
TABLE = "scores.csv"
#: Folder in the archives of MVTec's evaluation server.
_SERVER = "anomaly_images/"


@dataclass
class MapPlaces:
    """Where the maps of a data set's samples lie.

    Attributes:
        files: ``{image: file}``; images as the sample table names them.
        scores: ``{image: score}`` where a table has scores.
        extra: Maps of no sample.
        how: How maps were found, for a note.
        beside: How many images have several files, of which the first by :data:`SUFFIXES` is taken.
    """

    files: dict[str, Path] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)
    how: str = ""
    beside: int = 0


def find_maps(folder: Path, table: Path | None, samples: pd.DataFrame) -> MapPlaces:
    """Find the maps of samples.

    Args:
        folder: The folder of maps.
        table: CSV with the columns ``image``, ``map`` and perhaps ``score``. ``None``: the folder's own, if it has one.
        samples: Sample table.

    Raises:
        UserError: No folder, no table, a table without its columns, or that names maps outside the folder.
    """
    if not folder.is_dir():
        raise UserError(f"maps: {folder}: not a folder; expected one of anomaly maps ({', '.join(SUFFIXES)})")
    if table is None and (folder / TABLE).is_file():
        table = folder / TABLE
    return _by_table(folder, table, samples) if table is not None else _by_place(folder, samples)


# -- by where they lie ---------------------------------------------------------------------------------------------


def _own_path(row: pd.Series) -> str:
    return str(PurePosixPath(row["image"]).with_suffix(""))


def _tree(row: pd.Series) -> str:
    return f"{row['class']}/{row['split']}/{row['defect']}/{PurePosixPath(row['image']).stem}"


_LAYOUTS: dict[str, Callable[[pd.Series], str]] = {
    "by the image's own path": _own_path,
    "as class/split/defect/name": _tree,
    "as the image's own path below anomaly_images": lambda row: _SERVER + _own_path(row),
    "as anomaly_images/class/split/defect/name": lambda row: _SERVER + _tree(row),
}


def _by_place(folder: Path, samples: pd.DataFrame) -> MapPlaces:
    """Take the layout that has the most maps; one under which two images share a map is none."""
    present = _present(folder)
    best = MapPlaces(extra=sorted(present))
    for how, key_of in _LAYOUTS.items():
        keys = dict(zip(samples["image"], samples.apply(key_of, axis=1), strict=True))
        found = {image: key for image, key in keys.items() if key in present}
        if len(set(keys.values())) == len(keys) and len(found) > len(best.files):
            extra = sorted(set(present) - set(found.values()))
            beside = sum(len(present[key]) > 1 for key in found.values())
            files = {image: folder / present[key][0] for image, key in found.items()}
            best = MapPlaces(files, {}, [present[key][0] for key in extra], f"found {how}", beside)
    return best


def _present(folder: Path) -> dict[str, list[str]]:
    """Return the map files below a folder by their paths without suffix, the most exact first."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith("."):
            inside = path.relative_to(folder)
            found.setdefault(inside.with_suffix("").as_posix(), []).append(inside.as_posix())
    for names in found.values():
        names.sort(key=lambda name: SUFFIXES.index(PurePosixPath(name).suffix.lower()))
    return found


# -- by a table ----------------------------------------------------------------------------------------------------


def _by_table(folder: Path, table: Path, samples: pd.DataFrame) -> MapPlaces:
    rows = _read(table)
    image_of = _matched([str(name) for name in rows["image"]], [str(name) for name in samples["image"]], table)
    found = MapPlaces(how=f"found by {table.name}")
    for place, row in enumerate(rows.to_dict("records")):
        image = image_of[place]
        if image is None:
            found.extra.append(row["image"])
            continue
        if image in found.files:
            raise UserError(f"{table}: has two rows for the image {image}")
        found.files[image] = _inside(folder, table, row["map"])
        if "score" in row:
            found.scores[image] = _score(row["score"], f"{table}: line {place + 2}")
    return found


def _read(table: Path) -> pd.DataFrame:
    """Return the rows of a table, as Excel writes them: between commas, semicolons (with decimal commas), or tabs."""
    try:
        head, _, _ = table.read_text(encoding="utf-8-sig").partition("\n")
        sign = max(",;\t", key=head.count)
        rows = pd.read_csv(table, sep=sign, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{table}: isn't UTF-8 ({error.reason}); save the table as CSV in UTF-8") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{table}: can't be read as a CSV table ({error})") from error
    rows.columns = [str(name).strip().lower() for name in rows.columns]
    if sign == ";" and "score" in rows:
        rows["score"] = rows["score"].str.replace(",", ".", regex=False)
    missing = [name for name in ("image", "map") if name not in rows.columns]
    if missing:
        raise UserError(
            f"{table}: has no column {' and no column '.join(missing)}; expected image, map and, if there are, score; "
            f"found {some(rows.columns)}"
        )
    return rows


def _inside(folder: Path, table: Path, name: str) -> Path:
    """Return the file that a table names: relative to the table or the folder, and inside the folder."""
    names = dict.fromkeys((name, name.replace("\\", "/")))  # as Windows writes paths
    tried = [(base / each).resolve() for each in names for base in (table.parent, folder)]
    path = next((path for path in tried if path.is_file()), tried[0])
    if not path.is_relative_to(folder.resolve()):
        raise UserError(f"{table}: the map {name} lies outside {folder}; what is scored must be inside the folder")
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{table}: the map {name} has another ending than {', '.join(SUFFIXES)}")
    return path


def _score(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{where}: the score {text!r} is no finite number")
    return value


def _matched(names: list[str], images: list[str], table: Path) -> list[str | None]:
    """Return for each name of a table the sample's image: the same path, or one that ends with the other."""
    known, by_end = set(images), _ends(images)
    found: list[str | None] = []
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        path = "/".join(parts)
        if path in known:
            found.append(path)
            continue
        tails = ("/".join(parts[start:]) for start in range(1, len(parts)))
        longer = next((tail for tail in tails if tail in known), None)
        several = [longer] if longer else by_end.get(path, [])
        if len(several) > 1:
            told = some(several, most=3)
            raise UserError(f"{table}: the image {name} may be any of {len(several)} ({told}); write more of its path")
        found.append(several[0] if several else None)
    return found


def _ends(images: Iterable[str]) -> dict[str, list[str]]:
    """Return ``{end of a path: images}``, by whole folders."""
    found: dict[str, list[str]] = {}
    for image in images:
        parts = image.split("/")
        for start in range(1, len(parts)):
            found.setdefault("/".join(parts[start:]), []).append(image)
    return found
