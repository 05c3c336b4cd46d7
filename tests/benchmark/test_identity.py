"""What a cell's identity holds: whatever decides the result and nothing else. No cell is run here."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from diadbench.benchmark.planning.grid import parse_grid
from diadbench.benchmark.planning.plan import make_plan
from diadbench.benchmark.records.identity import Wanted, changes, difference, digest, older_note
from diadbench.benchmark.records.store import RunDirectory
from diadbench.common.code import code_of_file, code_of_module, meaning
from diadbench.common.errors import UserError
from diadbench.methods.catalog import CATALOG

METHOD = '''\
"""A method of one file."""
import lone_helper
from lone_package.inner import FACTOR
from diadbench.methods.base import Method
from diadbench.methods.info import MethodInfo


class Mine(Method):
    """Nothing much."""

    info = MethodInfo("mine", "Mine", "Nothing much.", batch_invariant=True)

    def __init__(self, scale: float = 1.0, weights: str = "") -> None:
        self.scale = scale * lone_helper.HALF * FACTOR
        self.weights = weights

    def fit(self, train, run):
        pass
'''


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    code = tmp_path / "code"
    (code / "lone_package").mkdir(parents=True)
    (code / "mine.py").write_text(METHOD)
    (code / "lone_helper.py").write_text("import lone_far\nHALF = 0.5 * lone_far.ONE\n")
    (code / "lone_far.py").write_text("ONE = 1.0\n")
    (code / "lone_package" / "__init__.py").write_text("")
    (code / "lone_package" / "inner.py").write_text("from .deep import FACTOR\n")
    (code / "lone_package" / "deep.py").write_text("FACTOR = 2\n")
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith(("lone_", "diadbench_user_"))]:
        del sys.modules[name]


def config(place: Path, **changed: Any) -> dict[str, Any]:
    """Return the configuration of the one cell of a small grid."""
    raw = {
        "name": "g",
        "methods": {"mine": {"method": f"{place / 'code' / 'mine.py'}:Mine"}},
        "datasets": {"toy": {"options": {"size": 32, "train": 2, "test_good": 1, "test_bad": 1}}},
        "image_size": 16,
        "device": "cpu",
        **changed,
    }
    [planned] = make_plan(parse_grid(raw), RunDirectory(place / "run", must_exist=False)).cells
    return planned.config


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("mine.py", "scale * lone", "2 * scale * lone"),
        ("lone_helper.py", "0.5", "0.25"),
        ("lone_far.py", "1.0", "1.5"),
        ("lone_package/deep.py", "2", "3"),
        ("lone_package/__init__.py", "", "print('hello')\n"),
    ],
)
def test_code_that_a_users_file_imports_is_part_of_it(place: Path, file: str, old: str, new: str) -> None:
    before = config(place)
    edit(place / "code" / file, old, new)
    after = config(place)
    assert after["identity"] != before["identity"]
    assert after["configuration"] != before["configuration"]
    [change] = changes(before["decides"], after["decides"])
    name = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    assert change == f"the code of {'file' if name == 'mine' else name} changed"


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("mine.py", '"""Nothing much."""', '"""Something else."""'),
        ("mine.py", "import lone_helper\n", "import lone_helper  # noqa\n\n\n"),
        ("mine.py", '("mine", "Mine", "Nothing much.", ', "('mine', 'Mine',\n        'Nothing much.', "),
        ("lone_helper.py", "HALF = 0.5 * lone_far.ONE", '"""Doc."""\nHALF = (0.50 * lone_far.ONE)'),
    ],
)
def test_how_code_looks_is_no_part_of_it(place: Path, file: str, old: str, new: str) -> None:
    before = config(place)
    edit(place / "code" / file, old, new)
    assert config(place)["identity"] == before["identity"]


def test_a_docstring_that_is_used_counts(tmp_path: Path) -> None:
    path = tmp_path / "code" / "lone_far.py"
    path.write_text('"""3"""\nONE = float(__doc__)\n')
    before = meaning(path)
    path.write_text('"""4"""\nONE = float(__doc__)\n')
    assert meaning(path) != before


def test_a_file_that_is_no_python_counts_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "code" / "broken.py"
    path.write_text("def (:  # one\n")
    before = meaning(path)
    path.write_text("def (:  # two\n")
    assert meaning(path) != before


def test_the_place_of_a_file_is_no_part_of_it(place: Path) -> None:
    before = config(place)
    (place / "code").rename(place / "elsewhere")
    moved = {"mine": {"method": f"{place / 'elsewhere' / 'mine.py'}:Mine"}}
    assert config(place, methods=moved)["identity"] == before["identity"]


def test_imports_are_followed_to_the_last_but_not_into_installed_packages(place: Path) -> None:
    path = place / "code" / "mine.py"
    path.write_text(
        METHOD + "import importlib, numpy, os\nfar = importlib.import_module('lone_far')\nimport lone_lost\n"
    )
    code = code_of_file(path)
    names = {"file", "lone_helper", "lone_far", "lone_package", "lone_package.inner", "lone_package.deep"}
    assert set(code.files) == names
    assert code.installed == {"numpy"}
    assert code.unresolved == {"lone_lost"}


def test_what_only_an_execution_finds_is_found(place: Path) -> None:
    hidden = place / "hidden"
    hidden.mkdir()
    (hidden / "lone_hidden.py").write_text("X = 1\n")
    text = f"import sys\nsys.path.append({str(hidden)!r})\nimport lone_hidden\n" + METHOD
    (place / "code" / "mine.py").write_text(text)
    before = config(place)
    assert "lone_hidden" in before["decides"]["code"]
    (hidden / "lone_hidden.py").write_text("X = 2\n")
    assert config(place)["identity"] != before["identity"]


def test_a_default_that_changes_in_a_long_lived_process_is_seen(place: Path) -> None:
    assert config(place)["method_options"]["scale"] == 1.0
    edit(place / "code" / "mine.py", "scale: float = 1.0", "scale: float = 3.0")
    assert config(place)["method_options"]["scale"] == 3.0


def test_a_module_and_an_entry_point_hold_their_code(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(place / "code"))
    (place / "code" / "lone_module.py").write_text(METHOD)
    by_module = config(place, methods={"m": {"method": "lone_module:Mine"}})
    assert {"lone_module", "lone_helper", "lone_far", "lone_package.deep"} <= set(by_module["decides"]["code"])
    points = {"diadbench.methods": [importlib.metadata.EntryPoint("mine-ep", "lone_module:Mine", "diadbench.methods")]}
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points.get(group, []))
    by_entry_point = config(place, methods={"m": {"method": "mine-ep"}})
    assert by_entry_point["identity"] == by_module["identity"]
    edit(place / "code" / "lone_far.py", "1.0", "7.0")
    assert config(place, methods={"m": {"method": "mine-ep"}})["identity"] != by_module["identity"]


def test_an_installed_package_has_its_version_and_its_own_code() -> None:
    code = code_of_module("yaml.loader")
    assert code.distribution.lower().startswith("pyyaml ")
    assert {"yaml", "yaml.loader", "yaml.scanner"} <= set(code.files)
    assert all(name.partition(".")[0] == "yaml" for name in code.files)


def test_a_version_of_a_method_and_of_what_it_is_built_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def raised(name: str) -> None:
        entry = CATALOG[name]
        info = type(entry.info)(**{**entry.info.__dict__, "version": entry.info.version + 1})
        monkeypatch.setitem(CATALOG, name, type(entry)(entry.target, info))

    edit(
        place / "code" / "mine.py",
        "import lone_helper\n",
        "import lone_helper\nimport diadbench.methods.patchcore.method\n",
    )
    before = config(place)
    assert before["decides"]["code"]["diadbench patchcore"] == "version 1"
    raised("patchcore")
    assert config(place)["identity"] != before["identity"]
    named = {"m": {"method": "mean-image"}}
    assert config(place, methods=named)["decides"]["version"] == CATALOG["mean-image"].info.version


@pytest.mark.parametrize("method", ["anomalib:Padim", "padim"])
def test_anomalibs_version_counts_for_what_is_anomalibs(
    place: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    before = config(place, methods={"m": {"method": method}})
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9" if name == "anomalib" else version(name))
    after = config(place, methods={"m": {"method": method}})
    assert changes(before["decides"], after["decides"]) == [f"packages.anomalib {version('anomalib')} -> 9.9"]
    mean = {"methods": {"m": {"method": "mean-image"}}}
    assert "packages" not in config(place, **mean)["decides"]


def test_devices_and_batches_where_they_matter(place: Path) -> None:
    plain = config(place)
    assert config(place, batch_size=3)["identity"] == plain["identity"], "the method says that it doesn't matter"
    assert config(place, devices=2)["identity"] == plain["identity"]  # devices share the configuration's batch
    assert (plain["batch_size"], plain["batch_by_memory"]) == (8, True), "a GPU may take more at a time"
    assert config(place, batch_size=8)["batch_by_memory"] is False, "the grid says how many"
    edit(place / "code" / "mine.py", ", batch_invariant=True", "")
    plain = config(place)
    assert (plain["batch_size"], plain["batch_by_memory"]) == (8, False)
    assert plain["identity"] == config(place, batch_size=8)["identity"]
    assert config(place, batch_size=3)["identity"] != config(place, batch_size=4)["identity"]


def test_labels_and_presets_are_no_part_of_it(place: Path) -> None:
    options = {"toy": {"options": {"size": 32, "train": 2, "test_good": 1, "test_bad": 1}}}
    renamed = {"other": {"dataset": "toy", **options["toy"]}}
    named = {"a b": {"method": f"{place / 'code' / 'mine.py'}:Mine"}}
    assert config(place, methods=named, datasets=renamed)["identity"] == config(place)["identity"]
    preset = config(place, methods={"x": {"method": "patchcore-lite"}})
    written = {"y": {"method": "patchcore", "options": preset["method_options"], "resolved": True}}
    assert config(place, methods=written)["identity"] == preset["identity"]
    target = {"z": {"method": CATALOG["mean-image"].target}}
    assert config(place, methods=target)["identity"] == config(place, methods=["mean-image"])["identity"]


def test_files_that_options_name_count_by_what_they_hold(place: Path) -> None:
    def identity(file: Path) -> str:
        entry = {"method": f"{place / 'code' / 'mine.py'}:Mine", "options": {"weights": str(file)}}
        return str(config(place, methods={"mine": entry})["identity"])

    first, second = place / "first.pth", place / "second.pth"
    first.write_bytes(b"weights")
    second.write_bytes(b"weights")
    before = identity(first)
    assert identity(second) == before
    second.write_bytes(b"other weights")
    assert identity(second) != before
    (place / "folder").mkdir()
    (place / "folder" / "model.bin").write_bytes(b"weights")
    in_folder = identity(place / "folder")
    (place / "folder" / "model.bin").write_bytes(b"changed")
    assert identity(place / "folder") != in_folder


# -- threads --------------------------------------------------------------------------------------------------------


def test_threads_do_not_depend_on_the_jobs(place: Path) -> None:
    one, two = config(place, jobs=1), config(place, jobs=2)
    assert one["threads"] == two["threads"] == 1
    assert one["identity"] == two["identity"]
    assert config(place, threads=2)["identity"] != one["identity"]


def test_threads_honour_the_environment(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert config(place)["decides"]["threads"] == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    with pytest.raises(UserError, match="OMP_NUM_THREADS: expected a positive whole number, found 'many'"):
        config(place)


def test_on_a_gpu_threads_are_no_part_of_it(place: Path) -> None:
    assert "threads" not in config(place, device="cuda")["decides"]
    assert config(place, device="cuda", threads=2)["identity"] == config(place, device="cuda", threads=3)["identity"]


def test_a_directory_keeps_its_threads(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = place / "run"
    run.mkdir()
    (run / "grid.yaml").write_text("methods: {}\n")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    grid = parse_grid({"name": "g", "methods": ["mean-image"], "datasets": ["toy"], "device": "cpu"})
    RunDirectory(run).keep(make_plan(grid, RunDirectory(run)).to_keep())
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert config(place)["threads"] == 2
    assert config(place, threads=4)["threads"] == 4


# -- words ----------------------------------------------------------------------------------------------------------


def wanted(decides: dict[str, Any], earlier: str = "") -> Wanted:
    return Wanted(digest({**decides, "seed": 0}), digest(decides), "exact", decides, earlier)


def test_a_difference_names_the_key(place: Path) -> None:
    before = config(place)
    said = {"identity": before["identity"], "decides": before["decides"], "protocol": "exact"}
    assert difference(said, {}, wanted(before["decides"])) == ""
    changed = {**before["decides"], "method_options": {"scale": 5.0, "weights": ""}, "threads": 2}
    assert difference(said, {}, wanted(changed)) == "method_options.scale 1.0 -> 5.0, threads 1 -> 2"
    assert difference({**said, "protocol": "uniad"}, {}, wanted(before["decides"])) == "protocol uniad -> exact"


def earlier_cell(found: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return status and configuration as a version without ``decides`` has written them."""
    kept = {key: value for key, value in found.items() if key not in ("decides", "configuration", "earlier", "threads")}
    environment = {"threads": 1, "device": "cpu", "packages": {"anomalib": importlib.metadata.version("anomalib")}}
    status = {"state": "done", "identity": found["earlier"], "protocol": "exact", "environment": environment}
    return status, {**kept, "identity": found["earlier"]}


Change = Callable[[dict[str, Any], dict[str, Any]], None]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda status, cell: None, ""),
        (lambda status, cell: status["environment"].update(threads=2), "threads 2 -> 1"),
        (lambda status, cell: status["environment"]["packages"].update(anomalib="1.0"), "packages.anomalib 1.0 -> "),
        (lambda status, cell: cell["method_options"].update(n_features=3) or status.update(identity="x"), "n_features"),
        (lambda status, cell: status.update(identity="x"), "the code or files of it, changed"),
    ],
)
def test_results_of_earlier_versions_are_judged_by_all_that_they_say(place: Path, change: Change, words: str) -> None:
    found = config(place, methods={"m": {"method": "padim"}})
    status, cell = earlier_cell(found)
    status["environment"]["packages"] = dict(status["environment"]["packages"])
    cell["method_options"] = dict(cell["method_options"])
    change(status, cell)
    said = difference(status, cell, Wanted.of(found))
    assert words in said
    assert bool(said) == bool(words)
    if not words:
        assert older_note(status, Wanted.of(found)) == "identity of an older version of diadbench"


def test_an_earlier_result_says_nothing_of_a_later_version(place: Path) -> None:
    found = config(place, methods=["mean-image"])
    status, cell = earlier_cell(found)
    later = {**found["decides"], "version": 2}
    assert difference(status, cell, wanted(later, found["earlier"])) == "version 1 -> 2"
    own = config(place)
    assert "which code it was made with" in older_note(earlier_cell(own)[0], Wanted.of(own))
