"""Mutations of lists: encodings, formats, broken and doubled ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from drawing import Draw
from hypothesis import assume, reject
from hypothesis import strategies as st
from world import World


def _some_list(world: World, draw: Draw) -> Path:
    there = [path for path in world.lists if path.is_file()]
    assume(there)
    return draw(st.sampled_from(there))


def other_text(world: World, draw: Draw) -> None:
    """The same list in another encoding or form."""
    path = _some_list(world, draw)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:  # An earlier mutation wrote it in another encoding.
        reject()
    kind = draw(st.sampled_from(sorted(TEXTS)))
    world.done.append(kind)
    world.write(path, TEXTS[kind](text))


def _array(text: str) -> bytes:
    rows = [line for line in text.splitlines() if line.strip()]
    try:
        return json.dumps([json.loads(row) for row in rows], indent=1).encode()
    except ValueError:
        return text.encode()


TEXTS: dict[str, Callable[[str], bytes]] = {
    "utf-8 with a mark": lambda text: text.encode("utf-8-sig"),
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16 without a mark": lambda text: text.encode("utf-16-le"),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "a blank first line": lambda text: ("\n" + text).encode(),
    "backslashes": lambda text: text.replace("//", "/").replace("/", "\\\\").encode(),
    "an array": _array,
    "single quotes": lambda text: text.replace('"', "'").encode(),
    "commas at the ends": lambda text: text.replace("}\n", "},\n").encode(),
    "cut off": lambda text: text[: len(text) * 2 // 3].encode(),
    "empty": lambda text: b"",
    "null": lambda text: re.sub(r'"(label|anomaly)": 0', r'"\1": null', text).encode(),
    "a remark first": lambda text: ("# split of May\n" + text).encode(),
    "utf-32": lambda text: text.encode("utf-32"),
    "another encoding": lambda text: text.replace("good", "瓶子").encode("gbk"),
    "web page": lambda text: b"<!DOCTYPE html><html>404</html>",
    "git-LFS pointer": lambda text: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "conflict": lambda text: (text + "<<<<<<< HEAD\n").encode(),
    "latin-1": lambda text: text.replace("good", "gööd").encode("latin-1", "replace"),
}


def list_gone(world: World, draw: Draw) -> None:
    """A list is deleted: folders may say the same, or nobody knows."""
    _some_list(world, draw).unlink()


def list_copied(world: World, draw: Draw) -> None:
    """A second, older list lies beside the list."""
    path = _some_list(world, draw)
    name = draw(st.sampled_from(["old_{}", "{}.bak", "copy of {}", ".{}"])).format(path.name)
    world.write(path.with_name(name), path.read_bytes())
