"""The floors of the house: who may import whom (docs/architecture.md)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

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


def room_of(path: Path) -> str:
    relative = path.relative_to(ROOT).as_posix()
    return max((room for room in ALLOWED if relative.startswith(room + "/")), key=len)


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the full name"
            module = node.module or ""
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names if module == "diadbench"}
    return {name for name in found if name.split(".")[0] == "diadbench" and name != "diadbench"}


FILES = [path for room in ALLOWED for path in sorted((ROOT / room).rglob("*.py")) if room_of(path) == room]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_arrow_runs_back_up(path: Path) -> None:
    room = room_of(path)
    own = "diadbench." + room.replace("diadbench/", "").replace("/", ".")
    allowed = (own, "diadbench.common", *ALLOWED[room])
    wrong = {name for name in imports(path) if not any(name == a or name.startswith(a + ".") for a in allowed)}
    assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_the_walk_sees_files() -> None:
    assert {room_of(path) for path in FILES} == set(ALLOWED)
