"""Grids: what is accepted, what is refused in one line, and that nothing is lost on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from diadbench.benchmark.planning.grid import (
    Grid,
    grid_names,
    load_grid,
    parse_grid,
    parse_memory,
    parse_overrides,
    parse_time,
)
from diadbench.common.errors import UserError

SMALL = {"name": "g", "methods": ["patchcore"], "datasets": {"toy": {"options": {"train": 5}}}}


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_lists_and_mappings_name_methods() -> None:
    grid = parse_grid(SMALL)
    assert grid.methods["patchcore"].method == "patchcore"
    assert grid.datasets["toy"].options == {"train": 5}


def test_cells_are_the_whole_product() -> None:
    grid = parse_grid({**SMALL, "methods": ["patchcore", "padim"], "seeds": [0, 1], "settings": ["one-per-class"]})
    keys = [cell.key for cell in grid.cells()]
    assert len(keys) == len(set(keys)) == 4
    assert ("toy", "padim", "one-per-class", 1) in keys


def test_a_method_may_be_kept_to_some_datasets() -> None:
    methods = {"padim": {"datasets": ["b"]}, "patchcore": None}
    grid = parse_grid({**SMALL, "methods": methods, "datasets": {"a": {"dataset": "toy"}, "b": {"dataset": "toy"}}})
    assert [cell.key[:2] for cell in grid.cells()] == [("a", "patchcore"), ("b", "padim"), ("b", "patchcore")]
    assert parse_grid(yaml.safe_load(grid.to_yaml())) == grid


def test_a_method_may_have_other_options_on_a_dataset() -> None:
    methods = {"padim": {"options": {"n": 1, "k": 2}, "by_dataset": {"b": {"n": 3}}}}
    grid = parse_grid({**SMALL, "methods": methods, "datasets": {"a": {"dataset": "toy"}, "b": {"dataset": "toy"}}})
    assert [cell.method.options for cell in grid.cells()] == [{"n": 1, "k": 2}, {"n": 3, "k": 2}]
    assert parse_grid(yaml.safe_load(grid.to_yaml())) == grid


def test_a_dataset_without_other_options_has_the_usual_ones() -> None:
    grid = parse_grid({**SMALL, "methods": {"padim": {"options": {"n": 1}, "by_dataset": {"toy": None}}}})
    assert [cell.method.options for cell in grid.cells()] == [{"n": 1}]


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"by_dataset": {"visa": {"n": 1}}}, "unknown dataset 'visa'"),
        ({"by_dataset": {"toy": 3}}, "methods.padim.by_dataset.toy: expected keys and values, found 3"),
        ({"by_dataset": ["toy"]}, "methods.padim.by_dataset: expected keys and values, found ['toy']"),
    ],
)
def test_options_on_a_dataset_that_make_no_sense(entry: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_grid({**SMALL, "methods": {"padim": entry}})
    assert sentence in str(caught.value)


def test_yaml_round_trip_gives_an_equal_grid(tmp_path: Path) -> None:
    grid = parse_grid({**SMALL, "time_limit": "30m", "methods": {"a b": {"method": "padim", "image_size": 64}}})
    assert load_grid(write(tmp_path, grid.to_yaml())) == grid


@pytest.mark.parametrize("name", grid_names())
def test_a_written_packaged_grid_gives_an_equal_one(tmp_path: Path, name: str) -> None:
    """Where a preset has its method's own name, reading must not lay it over another preset's options."""
    grid = load_grid(name)
    assert load_grid(write(tmp_path, grid.to_yaml())) == grid


def test_a_run_directory_goes_on_as_it_began(tmp_path: Path) -> None:
    grid = load_grid("demo")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "grid.yaml").write_text(grid.to_yaml())
    again = load_grid(tmp_path / "run", {'methods."patchcore-lite"': {"method": "patchcore-lite"}})
    assert again.methods["diad"].options == grid.methods["diad"].options
    assert again.methods["patchcore-lite"].options == load_grid("smoke").methods["patchcore"].options


def test_the_file_names_the_grid(tmp_path: Path) -> None:
    assert load_grid(write(tmp_path, "methods: [padim]\ndatasets: [toy]")).name == "mine"


def test_overrides_lie_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "methods: [padim]\ndatasets: [toy]")
    changes = parse_overrides(["seeds=[1,2]", "methods.padim.options.n=3", "image_size=[64, 32]"])
    grid = load_grid(path, changes)
    assert grid.seeds == [1, 2]
    assert grid.methods["padim"].options == {"n": 3}
    assert grid.size_for(grid.methods["padim"]) == (64, 32)


def test_a_method_may_have_its_own_size() -> None:
    grid = parse_grid({**SMALL, "methods": {"a": {"method": "padim", "image_size": 64}, "b": {"method": "padim"}}})
    assert grid.size_for(grid.methods["a"]) == (64, 64)
    assert grid.size_for(grid.methods["b"]) == (256, 256)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sedes": [1]}, ["sedes", "did you mean seeds"]),
        ({"methods": {"a": {"metod": "padim"}}}, ["methods.a", "metod", "did you mean method"]),
        ({"methods": {}}, ["methods", "at least one"]),
        ({"methods": {"a": 3}}, ["methods.a", "3"]),
        ({"methods": {"a": {"options": [1]}}}, ["methods.a.options"]),
        ({"methods": {"a": {"method": "padim", "datasets": ["toi"]}}}, ["methods.a.datasets", "did you mean toy"]),
        ({"methods": {"a": {"method": "padim", "datasets": []}}}, ["methods.a.datasets", "list"]),
        ({"image_size": "big"}, ["image_size", "big"]),
        ({"image_size": 0}, ["image_size", "positive"]),
        ({"image_size": [64, 64, 3]}, ["image_size", "[height, width]"]),
        ({"methods": {"a": {"method": "padim", "image_size": "big"}}}, ["methods.a.image_size", "positive"]),
        ({"jobs": 0}, ["jobs: expected a positive whole number, found 0"]),
        ({"threads": -1}, ["threads", "positive"]),
        ({"devices": 0}, ["devices", "positive"]),
        ({"seeds": [-1]}, ["seeds", "from 0 to 4294967295"]),
        ({"seeds": [2**32]}, ["seeds", "from 0 to 4294967295"]),
        ({"device": "gpu"}, ["device", "cuda:1", "'gpu'"]),
        ({"logger": ["csv", "tensorbord"]}, ["logger", "did you mean tensorboard"]),
        ({"engine": "pbs"}, ["engine: expected local, ray or slurm, found 'pbs'"]),
        ({"engine_options": {"jobs": 2}}, ["engine_options.jobs", "write it as jobs"]),
        ({"batch_size": "many"}, ["batch_size: expected a whole number, found 'many'"]),
        ({"settings": ["multi"]}, ["settings", "multi"]),
        ({"seeds": []}, ["seeds", "at least one"]),
        ({"seeds": [1, 1]}, ["seeds", "none twice"]),
        ({"time_limit": "soon"}, ["time_limit", "soon", "30m"]),
        ({"memory_limit": "8 elephants"}, ["memory_limit", "8GB"]),
        ({"keep_maps": "float8"}, ["keep_maps", "float8"]),
    ],
)
def test_wrong_grids_are_refused_in_one_line(change: dict[str, object], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        parse_grid({**SMALL, **change}, "mine.yaml")
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("mine.yaml")
    for word in words:
        assert word in text


def test_unknown_grids_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean demo"):
        load_grid("demoo")
    with pytest.raises(UserError, match="no such grid file"):
        load_grid(tmp_path / "nothing.yaml")
    with pytest.raises(UserError, match="not YAML"):
        load_grid(write(tmp_path, "methods: [a\n"))
    with pytest.raises(UserError, match="expected keys"):
        load_grid(write(tmp_path, "- a\n"))


def test_overrides_must_be_pairs() -> None:
    with pytest.raises(UserError, match="key=value"):
        parse_overrides(["seeds"])
    with pytest.raises(UserError, match="no keys below it"):
        load_grid("demo", {"name.deep": 3})


def test_units() -> None:
    assert parse_time("1.5h") == 5400
    assert parse_time(90) == 90
    assert parse_time(None) is None
    assert parse_memory("8GB") == 8e9
    assert parse_memory("1GiB") == 1024**3


def test_defaults_are_listed_in_the_docstring() -> None:
    for name in Grid.__dataclass_fields__:
        assert f"{name}:" in (Grid.__doc__ or ""), name


@pytest.mark.parametrize(
    ("label", "why"),
    [
        ("", "expected a name as a label, found ''"),
        ("\t", "expected a name as a label"),
        ("x" * 300, "takes 300 characters in a folder's name, 255 are the most"),
        ("\u65e5" * 30, "takes 270 characters in a folder's name"),
        ("\ud800", "holds half of a character"),
    ],
)
@pytest.mark.parametrize("group", ["methods", "datasets"])
def test_a_label_that_no_folder_can_have_is_refused(group: str, label: str, why: str) -> None:
    entries = {"methods": {"a": "mean-image"}, "datasets": {"a": "toy"}}[group]
    with pytest.raises(UserError, match=f"grid: {group}: .*{why}"):
        parse_grid({**SMALL, group: {label: {group[:-1]: entries["a"]}}})


def test_a_label_that_stands_twice_is_refused(tmp_path: Path) -> None:
    twice = "datasets: {toy: }\nmethods:\n  mine: {method: mean-image}\n  other:\n  mine: {method: pixel-knn}\n"
    with pytest.raises(UserError, match=r"mine\.yaml: not YAML: line 5: the key 'mine' stands twice in one mapping$"):
        load_grid(write(tmp_path, twice))
    under = "a: &a {method: pixel-knn, image_size: 32}\n"  # a merge key's entries are there to be laid over
    merged = f"datasets: {{toy: }}\nmethods:\n  {under}  b: &b {{<<: *a, image_size: 64}}\n  c: {{<<: *b}}\n"
    assert load_grid(write(tmp_path, merged)).methods["c"].image_size == 64
