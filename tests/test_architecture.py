"""The floors of the house: who may import whom, and how much stands in a room (docs/architecture.md)."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from collections import Counter
from pathlib import Path

import pytest

from diadbench.common.moved import MOVED
from tests.helpers.scripts import script

ROOT = Path(__file__).resolve().parents[1]
#: room -> prefixes of ``diadbench`` that it may import, besides itself and ``diadbench.common``
ALLOWED = {
    "datasets": (),
    "methods": ("diadbench.datasets",),
    "configs": (),
    "benchmark/metrics": (),
    "benchmark": (
        "diadbench.datasets",
        "diadbench.methods",
        "diadbench.configs",
        "diadbench.version",
    ),
    "reports": ("diadbench.benchmark.records.store", "diadbench.version"),
    "diadbench/common": (),
}
#: Names that may stand in several rooms: they mean the same in each.
FAMILY = {"__init__", "method", "base", "names"}
#: The most that a newcomer sees on entering a room.
ENTRIES = 14
#: Rooms that are lists: one file a data set, one file a command.
LISTS = {"datasets/sets", "diadbench/cli/commands"}
FOLDERS = ("datasets", "methods", "benchmark", "reports", "configs")


HOUSE = script("docs/house.py")


def room_of(path: Path) -> str:
    relative = path.relative_to(ROOT).as_posix()
    return max((room for room in ALLOWED if relative.startswith(room + "/")), key=len)


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the full name"
            module = node.module or ""
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names if module == "diadbench"}
    return {name for name in found if name != "diadbench"}


FILES = [path for room in ALLOWED for path in sorted((ROOT / room).rglob("*.py")) if room_of(path) == room]
CLI = sorted((ROOT / "diadbench" / "cli").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_arrow_runs_back_up(path: Path) -> None:
    room = room_of(path)
    own = "diadbench." + room.replace("diadbench/", "").replace("/", ".")
    allowed = (own, "diadbench.common", *ALLOWED[room])
    ours = {name for name in imports(path) if name.split(".")[0] == "diadbench"}
    wrong = {name for name in ours if not any(name == a or name.startswith(a + ".") for a in allowed)}
    assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_the_walk_sees_files() -> None:
    assert {room_of(path) for path in FILES} == set(ALLOWED)
    assert len(HOUSE.modules()) > 200


def test_no_file_is_part_of_a_circle() -> None:
    assert HOUSE.circles(HOUSE.imports()) == []


def test_circles_are_found() -> None:
    assert HOUSE.circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def entries(room: Path) -> list[str]:
    names = [path.name for path in room.iterdir() if not path.is_symlink()]
    return [name for name in names if name not in ("__init__.py", "__pycache__")]


ROOMS = sorted({path.parent.relative_to(ROOT).as_posix() for path in HOUSE.modules().values()} - LISTS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_no_more_than_one_look_takes_in(room: str) -> None:
    found = entries(ROOT / room)
    assert len(found) <= ENTRIES, f"{room} has {len(found)} entries: {sorted(found)}"


def test_no_name_of_a_module_stands_twice() -> None:
    names = Counter(path.stem for path in HOUSE.modules().values() if path.stem not in FAMILY)
    assert {name: count for name, count in names.items() if count > 1} == {}


@pytest.mark.parametrize("path", CLI, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_front_door_is_thin(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert not {name for name in imports(path) if name.split(".")[0] in ("torch", "lightning")}
    names = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    assert not names & {"Evaluator", "Trainer"}


def test_moved_modules_are_found_by_their_old_names() -> None:
    for old, new in MOVED.items():
        assert importlib.import_module(f"diadbench.{old}") is importlib.import_module(f"diadbench.{new}"), old


#: Names that moved out of a module which still stands: they are imported there under their own name.
NAMES_KEPT = {
    "datasets.decoding.data_module": ("CACHE_VERSION", "MASK_VERSION"),
    "datasets.layouts.detect": ("Layout", "above", "ader", "find_layout", "joined", "lines", "mvtec_like", "rebased"),
    "datasets.layouts.folders": ("MASK_FOLDERS", "MaskFinder", "entries", "image_files", "pair_by_stem", "subfolders"),
    "datasets.layouts.list_files": ("Entry", "KEYS", "rest_of_name", "split_of_name", "value_of"),
    "datasets.layouts.list_rows": ("Row", "below_root", "image_base", "slashed"),
    "methods.anomalib_models.bridge": ("AnomalibMethod", "LrInterval", "OWN"),
    "methods.authoring.conformance": ("CheckFailed", "ROUNDING", "SAME"),
    "methods.diad.checkpoints": ("load_autoencoder", "load_stable_diffusion", "start_posterior", "start_sg"),
    "methods.features.backbones": ("RANDOM_NOTE", "load_backbone_weights", "timm_names"),
}


def test_names_are_found_where_they_stood() -> None:
    for module, names in NAMES_KEPT.items():
        found = importlib.import_module(f"diadbench.{module}")
        assert [name for name in names if not hasattr(found, name)] == [], module


def test_links_lead_to_the_folders_of_the_root() -> None:
    for name in FOLDERS:
        assert (ROOT / "diadbench" / name).resolve() == ROOT / name
