"""The house as its imports show it: which file imports which, which rooms there are, and a picture of them.

::

    python docs/house.py                  # writes docs/pictures/house.png
    python docs/house.py --out FILE
"""

from __future__ import annotations

import argparse
import ast
import functools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Folders at the root that are sub-packages of ``diadbench``.
FOLDERS = ("datasets", "methods", "benchmark", "reports", "configs")
Graph = dict[str, set[str]]


@functools.cache
def modules() -> dict[str, Path]:
    """Return the name and file of every module of the project, each once."""
    found: dict[str, Path] = {}
    for top in (*FOLDERS, "diadbench"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if top == "diadbench" and len(parts) > 1 and parts[1] in FOLDERS:
                continue  # seen by a link
            name = ".".join(parts if top == "diadbench" else ("diadbench", *parts))
            found[name.removesuffix(".__init__")] = path
    return found


def imports(*, typing: bool = True) -> Graph:
    """Return for each module the modules of the project that it imports, wherever in the file.

    Args:
        typing: Count imports under ``if TYPE_CHECKING`` too.
    """
    known = modules()
    return {name: set(_imported(path, known, typing)) - {name} for name, path in known.items()}


def _imported(path: Path, known: dict[str, Path], typing: bool) -> Iterator[str]:
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and not typing and "TYPE_CHECKING" in ast.dump(node.test):
            nodes.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in known or node.module in known:
                    yield full if full in known else node.module
        nodes.extend(ast.iter_child_nodes(node))


def circles(graph: Graph) -> list[list[str]]:
    """Return the groups of modules that import each other, directly or not (Tarjan's components of two and more)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            place = stack.index(name)
            group = stack[place:]
            del stack[place:]
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return found


def room_of(module: str) -> str:
    """Return the room of a module: its folder, as ``datasets/sets`` or ``diadbench/cli``."""
    return modules()[module].relative_to(ROOT).parent.as_posix()


def rooms() -> tuple[dict[str, int], Counter[tuple[str, str]]]:
    """Return the number of files in each room, and how many imports go from one room to another."""
    graph = imports(typing=False)
    sizes = Counter(room_of(name) for name in graph)
    arrows = Counter(
        (room_of(name), room_of(other))
        for name, others in graph.items()
        for other in others
        if room_of(name) != room_of(other)
    )
    return dict(sizes), arrows


def floors(sizes: dict[str, int], arrows: Counter[tuple[str, str]]) -> dict[str, int]:
    """Return the floor of each room: one above the highest room that it imports. Rooms of a circle share a floor."""
    graph: Graph = {room: {b for a, b in arrows if a == room} for room in sizes}
    together = {room: tuple(group) for group in circles(graph) for room in group}
    level: dict[str, int] = {}

    def height(room: str) -> int:
        group = together.get(room, (room,))
        if room not in level:
            below = {other for one in group for other in graph[one]} - set(group)
            top = 1 + max((height(other) for other in below), default=-1)
            level.update(dict.fromkeys(group, top))
        return level[room]

    for room in sizes:
        height(room)
    return level


#: A colour for each folder of the root.
COLOURS = {
    "diadbench": "#9aa5b1",
    "datasets": "#8fbf8f",
    "methods": "#e0b46c",
    "benchmark": "#7fb3d5",
    "reports": "#c39bd3",
    "configs": "#d5d8dc",
}


def draw(out: Path) -> None:
    """Draw the rooms on their floors, with an arrow for the imports from one room to another."""
    from matplotlib.figure import Figure

    sizes, arrows = rooms()
    level = floors(sizes, arrows)
    figure = Figure(figsize=(15, 1.25 * (max(level.values()) + 1) + 0.6), layout="constrained")
    axes = figure.subplots()
    place: dict[str, tuple[float, float]] = {}
    for floor in range(max(level.values()) + 1):
        row = sorted(room for room in sizes if level[room] == floor)
        widths = [max(map(len, _folded(room).split("\n"))) + 4 for room in row]
        for position, room in enumerate(row):
            place[room] = ((sum(widths[:position]) + widths[position] / 2) / sum(widths) * 15, floor)
    strongest = max(arrows.values())
    for (start, end), count in sorted(arrows.items(), key=lambda item: item[1]):
        shade = 0.12 + 0.6 * (count / strongest) ** 0.5
        axes.annotate(
            "",
            xy=(place[end][0], place[end][1] + 0.19),
            xytext=(place[start][0], place[start][1] - 0.19),
            arrowprops={"arrowstyle": "-|>", "color": "#34495e", "alpha": shade, "lw": 0.5 + shade, "shrinkA": 0},
        )
    for room, (x, y) in place.items():
        axes.text(
            x,
            y,
            f"{_folded(room)}\n{sizes[room]} file{'s' if sizes[room] > 1 else ''}",
            ha="center",
            va="center",
            fontsize=9,
            bbox={"boxstyle": "round,pad=0.35", "facecolor": COLOURS[room.split("/")[0]], "edgecolor": "#2c3e50"},
        )
    axes.set(xlim=(-0.4, 15.4), ylim=(-0.6, max(level.values()) + 0.6))
    axes.set_axis_off()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)


def _folded(room: str) -> str:
    """Return the name of a room in a room on two lines, so that neighbours don't cover each other."""
    house, _, name = room.rpartition("/")
    return f"{house}/\n{name}" if "/" in house else room


def main() -> None:
    """Draw the picture and print what it shows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "pictures" / "house.png")
    out = parser.parse_args().out
    draw(out)
    sizes, arrows = rooms()
    print(f"{len(sizes)} rooms, {sum(sizes.values())} files, {len(arrows)} arrows between rooms: {out}")
    for group in circles(imports()):
        print(f"a circle: {', '.join(group)}")


if __name__ == "__main__":
    main()
