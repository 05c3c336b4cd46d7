"""Methods whose code does odd but legal things: each works or is one true line, and changes nothing of others."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diadbench.benchmark.cells.determinism import settings_notes
from diadbench.benchmark.cells.scoring.answering import answered
from diadbench.benchmark.planning.resolving.resolve import resolve_method
from diadbench.common.errors import UserError, raised
from diadbench.common.plugins import apart_of
from diadbench.common.processes.apart import settings
from diadbench.methods.registry import get_class

HEAD = """
import os, sys, random, warnings
import numpy as np
import torch
from diadbench.methods.base import Method, MethodInfo, Prediction

class Odd(Method):
    info = MethodInfo("odd", "Odd", "Does odd things.")

    def __init__(self, width: int = 3) -> None:
        self.width = width

    def fit(self, train, run):
        pass

    def predict(self, images):
        maps = images.mean(1)
        return Prediction(maps, maps.amax((1, 2)))

    def save(self, directory):
        pass

    def load(self, directory, run):
        pass
"""
SETS = """
torch.set_default_dtype(torch.float64)
torch.set_default_device("meta")
torch.set_num_threads(torch.get_num_threads() + 1)
torch.use_deterministic_algorithms(False)
torch.set_grad_enabled(False)
np.seterr(all="raise")
warnings.simplefilter("error")
os.environ["CUDA_VISIBLE_DEVICES"] = "7"
os.environ["OMP_NUM_THREADS"] = "9"
os.environ.pop("DIADBENCH_TEST_ODD")
os.chdir("/")
sys.stdout = sys.stderr
"""


def write(folder: Path, more: str = "", within: str = "") -> Any:
    lines = "".join(f"        {line}\n" for line in within.strip().splitlines())
    text = HEAD.replace("        pass\n", f"{lines}        pass\n", 1)
    (folder / "odd_method.py").write_text(f"{text}\n{more}", encoding="utf-8")
    return get_class(f"{folder / 'odd_method.py'}:Odd")


def ours() -> dict[str, Any]:
    """Return the settings of the process, without the variables that tell child processes where users' files lie."""
    found = settings()
    kept = {name: value for name, value in found["environment"].items() if not name.startswith("DIADBENCH_USER_")}
    return {**found, "environment": kept}


@pytest.fixture(autouse=True)
def deterministic(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("DIADBENCH_TEST_ODD", "here")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


@pytest.mark.parametrize("where", ["import", "fit"])
def test_what_a_methods_code_sets_ends_with_its_calls(tmp_path: Path, where: str) -> None:
    before = ours()
    cls = write(tmp_path, more=SETS) if where == "import" else write(tmp_path, within=SETS)
    method = cls(width=2)
    method.fit(None, None)
    assert ours() == before
    found: list[Any] = []
    type(method).predict.__wrapped__.__globals__["Prediction"] = lambda *parts: found.append(
        (torch.get_default_dtype(), os.environ["OMP_NUM_THREADS"], os.getcwd(), "DIADBENCH_TEST_ODD" in os.environ)
    )
    method.predict(torch.zeros(1, 3, 4, 4, device="cpu"))
    assert found == [(torch.float64, "9", "/", False)]  # its own calls find them again
    assert ours() == before
    notes = settings_notes(apart_of(cls).changed, before["threads"])
    assert [note.split()[2] for note in notes] == ["sets", "turns"]


def test_a_file_that_seeds_at_its_import_leaves_the_seed_of_the_grid(tmp_path: Path) -> None:
    def draws() -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(()))]  # noqa: NPY002

    def seed() -> None:
        random.seed(5), np.random.seed(5), torch.manual_seed(5)  # noqa: NPY002

    seed()
    expected = draws()
    seed()
    write(tmp_path, more="random.seed(0), np.random.seed(0), torch.manual_seed(0), print('said at import')")
    assert draws() == expected


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("sys.exit('bye')", "its import ends the process (SystemExit: bye (odd_method.py:26)); put what it does as a"),
        ("from .other import Thing", "import a file beside it by its name alone"),
        ("1 / 0", "ZeroDivisionError: division by zero (odd_method.py:26)"),
    ],
)
def test_an_import_that_fails_is_a_line_that_says_where(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        write(tmp_path, more=line)
    assert told in str(caught.value)
    assert str(caught.value).startswith(f"method file {tmp_path / 'odd_method.py'}: ")


def test_an_error_says_where_it_left_the_users_code(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as caught:
        write(tmp_path, within="torch.zeros(2) @ torch.zeros(3)")().fit(None, None)
    assert raised(caught.value).endswith("(odd_method.py:14)")
    assert "\n" not in raised(RuntimeError("a\nb\x1b[31m"))
    assert "\x1b" not in raised(RuntimeError("a\nb\x1b[31m"))


OPTIONS = """
import dataclasses, enum
from pathlib import Path

class Mode(enum.Enum):
    A, B = "a", "b"

@dataclasses.dataclass
class Inner:
    x: int = 3

class Typed(Odd):
    def __init__(self, mode: Mode = Mode.A, size: tuple[int, int] = (1, 2), place: Path = Path("p"),
                 inner: Inner = Inner(), rate: float = 1e-3, name: str = "b") -> None:
        self.got = (mode, size, place, inner, rate, name)

class NoFacts(Odd):
    info = {"name": "odd"}
"""


def test_a_grids_values_reach_a_constructor_as_its_hints_say(tmp_path: Path) -> None:
    write(tmp_path, more=OPTIONS)
    name = f"{tmp_path / 'odd_method.py'}:Typed"
    cls: Any = get_class(name)
    assert cls(**resolve_method(name, {}).options).got == cls().got
    given = {"mode": "b", "size": [3, 4], "place": "q", "inner": {"x": 7}}
    kept = resolve_method(name, given).options
    assert kept == {**given, "rate": 1e-3, "name": "b"}  # what a cell's identity is made of stays plain
    mode, size, place, inner, *_ = cls(**kept).got
    assert (mode is type(mode).B, size, place, inner.x) == (True, (3, 4), Path("q"), 7)
    with pytest.raises(UserError, match="mode"):
        resolve_method(name, {"mode": "c"})
    with pytest.raises(UserError, match="NoFacts is no method; it needs `info`"):
        resolve_method(f"{tmp_path / 'odd_method.py'}:NoFacts", {})


RETURNS: list[tuple[str, str]] = [
    ("return maps, score", "expected Prediction(anomaly_map, score), it returns tuple"),
    ("return None", "it returns nothing (None)"),
    ("return Prediction(maps.numpy(), score)", "anomaly_map must be a tensor, it is numpy.ndarray; torch.from_numpy"),
    ("return Prediction(maps, None)", "score must be a tensor, it is nothing (None); both a map and a score"),
    ("return Prediction(maps, score.tolist())", "score must be a tensor, it is list; torch.as_tensor makes one"),
    ("return Prediction(maps.to(torch.complex64), score)", "anomaly_map must be a dense tensor of real numbers, it is"),
    ("return Prediction(maps.to_sparse(), score)", "dense tensor of real numbers, it is sparse"),
    ("return Prediction(maps.double() * 1e300, score)", "anomaly_map has values beyond float32"),
    ("return Prediction(maps[:, None], score)", "anomaly maps: expected (2, 4, 6), one of the size of each image"),
    ("return Prediction(maps, score.max())", "scores: expected 2 values, one for each image, found the shape ()"),
    ("return Prediction(maps, score, images.byte())", "reconstruction must be float (B,3,H,W)"),
]


def answer_of(folder: Path, line: str, images: torch.Tensor) -> Any:
    more = f"def predict(self, images):\n    maps = images.mean(1)\n    score = maps.amax((1, 2))\n    {line}\n"
    return answered(write(folder, more=f"{more}Odd.predict = predict")(), images, torch.device("cpu"))


@pytest.mark.parametrize(("line", "told"), RETURNS)
def test_what_is_no_prediction_is_a_line(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        answer_of(tmp_path, line, torch.rand(2, 3, 4, 6))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "return Prediction(maps.double(), score.double())",
        "return Prediction(torch.nn.Parameter(maps), score[:, None])",
        "images.zero_(); return Prediction(maps, score)",
    ],
)
def test_odd_but_legal_predictions_are_those_of_a_plain_method(tmp_path: Path, line: str) -> None:
    images = torch.rand(2, 3, 4, 6)
    given = images.clone()
    found = answer_of(tmp_path, line, images)
    assert torch.equal(found.maps, given.mean(1))
    assert torch.equal(found.scores, given.mean(1).amax((1, 2)))
    assert not found.maps.requires_grad
    assert torch.equal(images, given)


def test_a_class_that_is_asked_for_again_is_wrapped_once(tmp_path: Path) -> None:
    first = write(tmp_path)
    calls = dict(vars(first))
    again: Any = get_class(f"{tmp_path / 'odd_method.py'}:Odd")
    assert again is first
    assert all(vars(again)[name] is calls[name] for name in ("fit", "predict"))
    assert hasattr(first.predict, "__wrapped__")
