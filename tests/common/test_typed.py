"""Values checked against hints: what passes and as what, and the sentence for what doesn't."""

from __future__ import annotations

import enum
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import numpy as np
import pytest
import torch

from diadbench.common.errors import UserError
from diadbench.common.values.arguments import arguments_of, checked_arguments, given_arguments
from diadbench.common.values.typed import convert, convert_word, is_plain, plain
from diadbench.common.values.yaml_values import load

if TYPE_CHECKING:
    from nowhere import Thing


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@pytest.mark.parametrize(
    ("hint", "value", "found"),
    [
        (int, 3, 3),
        (float, 3, 3.0),
        (float, float("inf"), float("inf")),
        (str | None, None, None),
        (Path, "a/b", "a/b"),
        (Path | str | None, Path("a"), "a"),
        (tuple[int, ...], [1, 2], [1, 2]),
        (tuple[float, float], (1, 2), [1.0, 2.0]),
        (list[float], (1, 2), [1.0, 2.0]),
        (Sequence[str], ["a"], ["a"]),
        (set[str], ["b", "a"], ["a", "b"]),
        (Mapping[str, float], {"a": 1}, {"a": 1.0}),
        (dict[str, Any], {"a": {"b": [1]}}, {"a": {"b": [1]}}),
        (int | list[int], [1], [1]),
        (str | float | None, 90, 90),
        (int | Literal["auto"], "auto", "auto"),
        (Annotated[int, "pixels"], 3, 3),
        (Colour, "red", "red"),
        (int, np.int64(3), 3),
        (float, np.float32(0.5), 0.5),
        (Any, (1, {"a": Path("b")}), [1, {"a": "b"}]),
    ],
)
def test_what_passes_is_a_plain_value_of_the_hints_type(hint: Any, value: Any, found: Any) -> None:
    converted = convert(hint, value, "key")
    assert converted == found
    assert type(converted) is type(found) or isinstance(found, int)
    assert is_plain(converted)


@pytest.mark.parametrize(
    ("hint", "value", "sentence"),
    [
        (int, "3", "key: expected a whole number, found '3'"),
        (int, True, "key: expected a whole number, found True"),
        (int, 2.0, "key: expected a whole number, found 2.0"),
        (int | None, 1.5, "key: expected a whole number, found 1.5"),
        (float, "many", "key: expected a number, found 'many'"),
        (float, False, "key: expected a number, found False"),
        (bool, 1, "key: expected true or false, found 1"),
        (str, 3, "key: expected a text, found 3"),
        (str, None, "key: expected a text, found None"),
        (Path | None, 3, "key: expected a path, found 3"),
        (Optional[str], [1], "key: expected a text, found [1]"),  # noqa: UP045
        (list[int], 3, "key: expected a list, found 3"),
        (list[int], [1, "x"], "key[1]: expected a whole number, found 'x'"),
        (tuple[int, int], [1], "key: expected a list of 2, found [1]"),
        (tuple[int, int], [1, 2, 3], "key: expected a list of 2, found [1, 2, 3]"),
        (tuple[int, str], [1, 2], "key[1]: expected a text, found 2"),
        (dict[str, list[int]], {"a": {}}, "key.a: expected a list, found {}"),
        (dict[str, list[int]], {"a": [0, "b"]}, "key.a[1]: expected a whole number, found 'b'"),
        (dict[str, int], [1], "key: expected keys and values, found [1]"),
        (int | list[int], "x", "key: expected a whole number or a list, found 'x'"),
        (int | list[int], [1, "x"], "key[1]: expected a whole number, found 'x'"),
        (Literal["local", "ray", "slurm"], "pbs", "key: expected local, ray or slurm, found 'pbs'"),
        (
            Literal["official", "concat"],
            "offical",
            "key: expected official or concat, found 'offical'; did you mean official?",
        ),
        (list[Literal["a", "b"]], ["a", "c"], "key[1]: expected a or b, found 'c'"),
        (int | Literal["auto"], 1.5, "key: expected a whole number or auto, found 1.5"),
        (Colour, "green", "key: expected red or blue, found 'green'"),
        (Annotated[int, "pixels"], "x", "key: expected a whole number, found 'x'"),
    ],
)
def test_what_is_wrong_is_one_sentence(hint: Any, value: Any, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        convert(hint, value, "key")
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("hint", "text", "found"),
    [
        (list[str], "[01, on, 1e3, yes, 12]", ["01", "on", "1e3", "yes", "12"]),
        (Sequence[str] | None, "[1.10]", ["1.10"]),
        (str | None, "1.10", "1.10"),
        (dict[str, list[str]], "{1e3: [007, 8]}", {"1e3": ["007", "8"]}),
        (Literal["1", "2"], "1", "1"),
        (Literal[1, 2], "1", 1),
        (Path, "2024", "2024"),
        (bool, "on", True),
        (list[bool], "[yes, NO]", [True, False]),
        (float, "1e-4", 1e-4),
        (int, "20_000", 20000),
        (str | float, "90", 90.0),
        (Any, "[01, 2]", ["01", 2]),
    ],
)
def test_a_number_is_read_as_the_hint_says(hint: Any, text: str, found: Any) -> None:
    assert convert(hint, load(text), "key") == found


@pytest.mark.parametrize(
    ("hint", "word", "found"),
    [
        (int | None, "3", 3),
        (float, "1e-3", 1e-3),
        (str | None, "01", "01"),
        (Path, "a", Path("a")),
        (Literal["x"], "x", "x"),
    ],
)
def test_words_of_a_command_line(hint: Any, word: str, found: Any) -> None:
    assert convert_word(hint, word, "--key") == found


@pytest.mark.parametrize(("hint", "word"), [(int | None, "1.5"), (int, "many"), (float, ""), (Literal["x"], "y")])
def test_wrong_words_of_a_command_line(hint: Any, word: str) -> None:
    with pytest.raises(UserError, match=rf"--key: expected .*, found '{word}'"):
        convert_word(hint, word, "--key")


class Base:
    def __init__(self, a: float = 1.0, b: int = 2, c: Literal["x", "y"] = "x") -> None: ...


class PassesOn(Base):
    def __init__(self, w: int = 3, **kwargs: Any) -> None:
        super().__init__(b=w, **kwargs)


class Keeps(Base):
    def __init__(self, w: int = 3, **kwargs: Any) -> None:
        super().__init__()
        self.kept = kwargs


class Odd:
    def __init__(
        self,
        need: int,
        thing: Thing | None = None,
        names=("a",),
        *,
        dtype: Any = torch.float32,
        k: int = None,  # type: ignore # noqa
    ) -> None: ...


def test_all_arguments_with_their_defaults() -> None:
    assert checked_arguments(Base, {"b": 5}) == {"a": 1.0, "b": 5, "c": "x"}
    assert given_arguments(Base, {"a": 5}) == {"a": 5.0}


def test_what_is_passed_on_to_the_base_is_known_and_checked() -> None:
    assert checked_arguments(PassesOn, {"a": 2}) == {"w": 3, "a": 2.0, "c": "x"}
    with pytest.raises(UserError, match="W: c: expected x or y, found 'q'"):
        checked_arguments(PassesOn, {"c": "q"}, "W")
    for name in ("b", "ww"):  # the class fills the one itself
        with pytest.raises(UserError, match=f"W: unknown option '{name}'"):
            checked_arguments(PassesOn, {name: 1}, "W")


def test_a_class_that_keeps_its_kwargs_takes_any() -> None:
    assert checked_arguments(Keeps, {"any": load("1e3")}) == {"w": 3, "any": 1000.0}
    assert arguments_of(Keeps).open_ended


def test_hints_that_cannot_be_resolved_cost_their_own_parameter_alone() -> None:
    found = checked_arguments(Odd, {"need": 1, "thing": "x", "k": None})
    assert found == {"need": 1, "thing": "x", "names": ["a"], "k": None}  # a dtype is no plain value
    with pytest.raises(UserError, match="W: need: expected a whole number, found 'x'"):
        checked_arguments(Odd, {"need": "x"}, "W")
    with pytest.raises(UserError, match="W: need is required"):
        checked_arguments(Odd, {}, "W")
    with pytest.raises(UserError, match="W: unknown option 'neeed'; did you mean need"):
        checked_arguments(Odd, {"neeed": 1}, "W")


def test_an_object_is_no_plain_value() -> None:
    assert not is_plain({"a": [torch.float32]})
    assert plain({"a": {1, 2}}) == {"a": [1, 2]}
    with pytest.raises(UserError, match=r"key: expected a number, found torch\.float32"):
        convert(float, torch.float32, "key")


def test_pydantic_is_imported_when_something_is_checked() -> None:
    code = "import sys, diadbench.common.values.arguments, diadbench.cli.parser; assert 'pydantic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
