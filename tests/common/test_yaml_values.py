"""YAML values: what is a text, what is a number, and that nothing changes on the way to a file and back."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from diadbench.benchmark.planning.grid import Grid, load_grid, parse_overrides
from diadbench.benchmark.planning.resolving.resolve import checked_options, resolve_method
from diadbench.common.errors import UserError
from diadbench.common.values.typed import plain
from diadbench.common.values.yaml_values import SpelledFloat, SpelledInt, dump, load
from diadbench.datasets.lookup import get_class

#: Names that YAML 1.1 or 1.2 takes for something else, and that a class, a label or a folder may have.
NAMES = ["01", "007", "on", "off", "yes", "no", "1e3", "1.10", "12", "0x1F", "1_000", "2024-01-01", "1:30", "-3", ".5"]


@pytest.mark.parametrize(
    "text", ["on", "off", "yes", "No", "01", "08", "2024-01-01", "1:30", "1.2.3", "0b1", "1_", "e3"]
)
def test_what_stays_a_text(text: str) -> None:
    assert load(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("1e-4", 1e-4), ("1E3", 1000.0), ("0.10", 0.1), (".5", 0.5), ("1.", 1.0), (".inf", float("inf"))),
        *(("3", 3), ("-3", -3), ("+5", 5), ("0", 0), ("0o17", 15), ("0x1f", 31), ("20_000", 20000)),
    ],
)
def test_a_number_keeps_its_spelling(text: str, value: float) -> None:
    found = load(text)
    assert found == value
    assert type(plain(found)) is type(value)
    assert str(found) == text
    for again in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert again == value
        assert str(again) == text
    assert json.loads(json.dumps(found)) == value


def test_plain_values_and_keys() -> None:
    assert load("[true, False, null, ~, ]") == [True, False, None, None]
    assert [str(key) for key in load("{true: 1, null: 2, 01: 3, 1e3: 4, on: 5, 1: 6}")] == [
        *("true", "null", "01", "1e3", "on", "1"),
    ]
    assert load("a: &a {x: 1}\nb: {<<: *a, y: 2}")["b"] == {"x": 1, "y": 2}


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.text("0123456789.eE+-_x:", min_size=1, max_size=6),
    st.sampled_from([*NAMES, "true", "null", "~", "", "<<", "=", ".inf", ".nan", "y", "NO"]),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)


@given(values)
def test_what_is_written_is_read_by_this_reader_and_by_pyyaml(value: Any) -> None:
    assert plain(load(dump(value))) == value
    assert yaml.safe_load(dump(value)) == value


@given(st.text("0123456789.eE+-_", min_size=1, max_size=6))
def test_a_spelling_survives_being_written(text: str) -> None:
    found = load(text)
    again = load(dump({"k": found}))["k"]
    assert type(again) is type(found)
    assert str(again) == str(found)
    assert str(load(yaml.safe_dump({"k": found}))["k"]) == str(found)


@given(values)
def test_what_pyyaml_wrote_is_read_with_equal_values_or_spellings(value: Any) -> None:
    """Grids of earlier versions: PyYAML leaves texts such as 1e-4 without quotes."""

    def same(found: Any, wanted: Any) -> bool:
        if isinstance(wanted, dict):
            return [*map(str, found)] == [*wanted] and all(map(same, found.values(), wanted.values()))
        if isinstance(wanted, list):
            return len(found) == len(wanted) and all(map(same, found, wanted))
        return str(found) == wanted if isinstance(wanted, str) else bool(found == wanted)

    assert same(load(yaml.safe_dump(value, sort_keys=False)), value)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_classes_and_labels_are_what_was_written(name: str, tmp_path: Path) -> None:
    overrides = parse_overrides([f"datasets.set.options.classes=[{name}]"])
    (tmp_path / "g.yaml").write_text(
        f"methods: {{{name}: {{method: mean-image, datasets: [set]}}}}\ndatasets: {{set: {{dataset: toy}}}}"
    )
    grid = load_grid(tmp_path / "g.yaml", overrides)
    assert [*grid.methods] == [name]
    for one in (grid, _again(grid, tmp_path)):
        assert checked_options(get_class("toy"), one.datasets["set"].options)["classes"] == [name]
        assert [*one.methods] == [name]


def _again(grid: Grid, tmp_path: Path) -> Grid:
    (tmp_path / "again.yaml").write_text(grid.to_yaml())
    return load_grid(tmp_path / "again.yaml")


@pytest.mark.parametrize("name", NAMES)
def test_a_grid_that_pyyaml_wrote_has_the_same_names(name: str, tmp_path: Path) -> None:
    raw = {"methods": {name: {"method": "mean-image", "datasets": [name]}}, "datasets": {name: {"dataset": "toy"}}}
    raw["datasets"][name]["options"] = {"classes": [name]}
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(raw))
    grid = load_grid(tmp_path / "old.yaml")
    assert checked_options(get_class("toy"), grid.datasets[name].options)["classes"] == [name]
    assert grid.methods[name].datasets == [name]


def test_a_number_in_the_place_of_a_text_is_its_spelling(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text("name: 1.10\nnote: 007\nmethods: [mean-image]\ndatasets: [toy]\ntime_limit: 90")
    grid = load_grid(tmp_path / "g.yaml")
    assert (grid.name, grid.note, grid.time_limit) == ("1.10", "007", 90)


def test_a_switch_may_still_be_on() -> None:
    assert checked_options(get_class("mvtec3d"), load("validation: yes"))["validation"] is True
    assert checked_options(get_class("mvtec3d"), load("validation: Off"))["validation"] is False
    with pytest.raises(UserError, match="validation: expected true or false, found 'maybe'"):
        checked_options(get_class("mvtec3d"), load("validation: maybe"))


def test_how_results_are_shown_is_read_as_written(tmp_path: Path) -> None:
    show = "{digits: 2, classes: [01, 1e3, on, 12], names: {1e3: 1.10}, std: no}"
    (tmp_path / "g.yaml").write_text(f"methods: [mean-image]\ndatasets: [toy]\nshow: {show}")
    grid = load_grid(tmp_path / "g.yaml")
    wanted = {"digits": 2, "classes": ["01", "1e3", "on", "12"], "names": {"1e3": "1.10"}, "std": False}
    assert grid.show == _again(grid, tmp_path).show == yaml.safe_load(grid.to_yaml())["show"] == wanted
    (tmp_path / "g.yaml").write_text("methods: [mean-image]\ndatasets: [toy]\nshow: {digits: 1.5}")
    with pytest.raises(UserError, match=r"show: digits: expected a whole number from 0 to 4, found 1\.5"):
        load_grid(tmp_path / "g.yaml")


FULL = """
methods:
  a: {method: padim, image_size: [64, 32], time_limit: 90, datasets: [1e3], by_dataset: {1e3: {n_features: 20}}}
datasets:
  1e3: {dataset: toy, options: {train: 5, difficulty: 2e-1, classes: [tile]}}
settings: [multi-class]
seeds: [0, 1]
image_size: 128
evaluation_size: [64, 64]
batch_size: 4
devices: 1
threads: 2
jobs: 1
keep_checkpoints: no
data_root: 2024
time_limit: 1.5
memory_limit: 8e9
engine_options: {gpus: 0, nested: [1, 2.5]}
note: 3
show: {digits: 0}
"""


def test_every_number_of_a_grid_is_a_plain_one_where_it_is_used(tmp_path: Path) -> None:
    """Code after the grid may ask ``type(x) is int``; only options wait for their class to be known."""
    (tmp_path / "g.yaml").write_text(FULL)
    grid = load_grid(tmp_path / "g.yaml")
    assert not spelled_in({key: value for key, value in vars(grid).items() if key not in ("methods", "datasets")})
    for spec in (*grid.methods.values(), *grid.datasets.values()):
        assert not spelled_in({key: value for key, value in vars(spec).items() if key not in ("options", "by_dataset")})
    assert not spelled_in(checked_options(get_class("toy"), grid.datasets["1e3"].options))
    assert grid.methods["a"].by_dataset == {"1e3": {"n_features": 20}}
    assert grid.data_root == str(tmp_path / "2024")
    assert grid.keep_checkpoints is False


def spelled_in(value: Any) -> bool:
    if isinstance(value, dict):
        return any(spelled_in(entry) for entry in (*value, *value.values()))
    return (
        any(map(spelled_in, value)) if isinstance(value, list | tuple) else isinstance(value, SpelledInt | SpelledFloat)
    )


@pytest.mark.parametrize("one", ["1e3", "01"])
def test_the_memory_of_resolved_options_tells_spellings_apart(
    one: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "named.py").write_text(
        "from diadbench.methods.simple.trivial import MeanImage\n\n\nclass Named(MeanImage):\n"
        "    def __init__(self, names: list[str] | None = None) -> None:\n        super().__init__()\n"
    )
    method = f"{tmp_path / 'named.py'}:Named"
    for text in (one, "1000.0", "1", one):
        assert resolve_method(method, load(f"names: [{text}]")).options == {"names": [text]}
    assert [*(tmp_path / "cache" / "resolved").iterdir()]
