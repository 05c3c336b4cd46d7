"""Find the directory of a dataset on this machine.

In this order: the dataset's own ``root`` in the grid; a ``data_root`` that holds all datasets; the environment variable
``DIADBENCH_DATA``; the user's file ``~/.config/diadbench/config.yaml``::

    data_root: /data            # holds mvtec/, VisA/, Real-IAD/ ...
    datasets:
      realiad: /mnt/big/realiad # one that lies elsewhere
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diadbench.common.errors import Missing, UserError, told_of_files, unknown_name
from diadbench.common.wording import some
from diadbench.datasets.facts.known_sets import CATALOG

#: This name as a root means a small synthetic dataset in the owner's layout, which is made once.
SAMPLE = "sample"
#: Prefixes tried before a folder's name, because ``data_root`` may be the folder above.
_ABOVE = ("", "data", "datasets")
_DATA_ROOT = "DIADBENCH_DATA"


@told_of_files()
def find_root(
    name: str, root: Path | str | None = None, data_root: Path | str | None = None, *, by_content: bool = True
) -> Path | None:
    """Return the directory of a dataset; ``None`` if no setting says where it is.

    Args:
        name: Registered name, or ``file.py:Class``.
        root: The dataset's own root, used unchanged; ``sample`` makes synthetic data in the cache directory.
        data_root: Directory that holds datasets by their usual folder names, or by other names up to two folders deep.
        by_content: Also look for a dataset under another folder name, by the folders' content. It imports pandas.

    Raises:
        UserError: A data root was given but has no folder of the dataset, or the user's file is invalid.
    """
    if root is not None:
        if str(root) == SAMPLE:
            from diadbench.datasets.samples import cached_sample

            made: Path = cached_sample(name)
            return made
        return Path(root).expanduser()
    tried: list[str] = []
    for place, source in _places(name, data_root):
        if source.startswith("datasets."):
            return place
        found = _below(place, name)
        if found is not None:
            return found
        if by_content and _holds(place, name):
            return place
        tried.append(f"{place} ({source})")
    if tried and folder_names(name):
        names = ", ".join(folder_names(name)[:4])
        raise Missing(
            f"dataset {name!r}: not found in {some(tried, sep='; ')}; expected a folder named like {names}: "
            f"put it there, or give its `root`"
        )
    return None


def where(name: str, data_root: Path | str | None = None) -> str:
    """Describe briefly where a dataset was found, or why not."""
    if name in CATALOG and not folder_names(name):
        return "any folder" if name == "folder" else "made here"
    try:
        found = find_root(name, data_root=data_root, by_content=False)
    except UserError:
        return "not found"
    if found is None:
        return "-"
    return str(found) if found.is_dir() else f"{found} (missing)"


def home_for(name: str) -> Path | None:
    """Return the directory for a missing dataset: its folder below the first data root; ``None`` without one."""
    for place, source in _places(name, None):
        return place if source.startswith("datasets.") else place / (folder_names(name) or (name,))[0]
    return None


def folder_names(name: str) -> tuple[str, ...]:
    """Return the folder names of a dataset below a data root; for a plug-in, its own name."""
    if name in CATALOG:
        return CATALOG[name].folders
    return () if ":" in name else (name,)


def config_file() -> Path:
    """Return the path of the user's file, whether or not it exists."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "diadbench" / "config.yaml"


def _places(name: str, data_root: Path | str | None) -> Iterator[tuple[Path, str]]:
    """Yield the directories to search, and the setting that each comes from."""
    if data_root is not None:
        yield Path(data_root).expanduser(), "data_root"
    if os.environ.get(_DATA_ROOT):
        yield Path(os.environ[_DATA_ROOT]).expanduser(), _DATA_ROOT
    config = _config()
    if name in config.get("datasets", {}):
        yield Path(config["datasets"][name]).expanduser(), f"datasets.{name}"
    if config.get("data_root"):
        yield Path(config["data_root"]).expanduser(), str(config_file())


def _below(place: Path, name: str) -> Path | None:
    for above in _ABOVE:
        for folder in folder_names(name):
            if (place / above / folder).is_dir():
                return place / above / folder
    return None


def _holds(place: Path, name: str) -> bool:
    """Whether a dataset with layouts lies below a directory, under any folder name."""
    if not folder_names(name) or name not in CATALOG or not place.is_dir():
        return False
    from diadbench.datasets.lookup import get

    try:
        return getattr(get(name, place), "found", None) is not None
    except UserError:
        return False


def _config() -> dict[str, Any]:
    path = config_file()
    if not path.is_file():
        return {}
    import yaml

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())}); mend it or remove it") from error
    if not isinstance(config, dict):
        raise UserError(f"{path}: expected keys data_root and datasets, found {type(config).__name__}")
    for key in config:
        if key not in ("data_root", "datasets"):
            raise unknown_name("key", str(key), ("data_root", "datasets"), where=str(path))
    datasets = config.get("datasets") or {}
    if not isinstance(datasets, dict) or not all(isinstance(value, str) for value in datasets.values()):
        raise UserError(f"{path}: datasets: expected `name: /path` lines, as in `mvtec: /data/mvtec`")
    if not isinstance(config.get("data_root"), (str, type(None))):
        raise UserError(f"{path}: data_root: expected a path, found {config['data_root']!r}")
    return {"data_root": config.get("data_root"), "datasets": datasets}
