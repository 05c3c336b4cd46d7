"""Lists in messages end, and numbers agree with their nouns: the functions, and every place that should use them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from diadbench.common.wording import ROOM, counted, some

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("benchmark", "datasets", "methods", "reports", "diadbench/common", "diadbench/cli")
ERRORS = {"UserError", "Skip", "Missing"}
#: Numbers that are never 1, by the condition around them: (file, text after the number).
SEVERAL = {
    ("absent.py", "things stand in the way"),
    ("cut.py", "datasets"),
    ("export.py", "finished cells of"),
    ("submission.py", "finished cells on"),
    ("workers.py", "problems"),
    ("frame.py", "protocols"),
    ("feature_cache.py", "classes ("),
    ("mask_findings.py", "masks are equal"),
    ("predict.py", "images can"),
    ("given_maps.py", "test images ("),  # "... of 12 test images": a whole, not a count
    ("decoder.py", "classes"),
    ("methods_list.py", "models of anomalib"),
    ("merging.py", "cells are in several runs"),
    ("our_figures.py", "rows match"),
}


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b", "c"], "a, b, c"),
        (["a" * 100, "b" * 50, "c"], "a" * 100 + " and 2 more"),
        (["a" * 500, "b"], "a" * 500 + " and 1 more"),  # a path is whole or not there
        (range(100), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 88 more"),
    ],
)
def test_a_list_ends(items: list[object], text: str) -> None:
    assert some(items) == text


def test_a_list_of_any_length_has_its_room() -> None:
    for length in range(1, 60):
        assert len(some(["x" * length] * 1000, most=1000)) <= ROOM + len(" and 1,000 more")
    assert some(["one; two", "three"], sep="; ", most=1) == "one; two; and 1 more"


def test_a_number_agrees_with_its_noun() -> None:
    assert [counted(n, "image") for n in (0, 1, 1234)] == ["0 images", "1 image", "1,234 images"]
    assert counted(1, "entry", "entries") == "1 entry"
    assert counted(2, "entry", "entries") == "2 entries"


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def is_join(node: ast.AST) -> bool:
    """Whether a text lists what may be long: ``", ".join(found)``, not a constant nor the words of one text."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "join"):
        return False
    sep, listed = node.func.value, ast.unparse(node.args[0])
    listing = isinstance(sep, ast.Constant) and str(sep.value).strip() in (",", ";")
    return listing and not re.search(r"[A-Z]{3}|\[:\d\]|\.split\(\)", listed)


def raised(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
            yield node


def test_no_error_holds_a_list_without_an_end() -> None:
    wrong = []
    for path, tree in trees():
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            made = {
                target.id
                for node in ast.walk(function)
                if isinstance(node, ast.Assign) and any(map(is_join, ast.walk(node.value)))
                for target in node.targets
                if isinstance(target, ast.Name)
            }
            for error in raised(function):
                for node in ast.walk(error):
                    if is_join(node) or (isinstance(node, ast.Name) and node.id in made):
                        wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
    assert not wrong, "use some() of common/wording.py:\n" + "\n".join(wrong)


def test_no_number_of_things_is_always_plural() -> None:
    wrong = []
    for path, tree in trees():
        for text in (node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)):
            before: list[ast.expr | None] = [None, *text.values]
            for left, number, right in zip(before, text.values, text.values[1:]):
                if not (isinstance(number, ast.FormattedValue) and isinstance(right, ast.Constant)):
                    continue
                counts = re.match(r"len\(|sum\(", ast.unparse(number.value))
                noun = re.match(r" ((?:\w+ )?\w+s\b(?<! is)(?<! has)(?<! as).*)", str(right.value))
                whole = isinstance(left, ast.Constant) and re.search(r"(of |/|all )$", str(left.value))
                known = noun and any(path.name == name and noun[1].startswith(said) for name, said in SEVERAL)
                if counts and noun and not whole and not known:
                    wrong.append(f"{path.relative_to(ROOT)}:{number.lineno}: {ast.unparse(text)}")
    assert not wrong, "use counted() of common/wording.py:\n" + "\n".join(wrong)
