"""The doctor: what is well passes, and what is wrong fails in one line with what to do."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from diadbench.benchmark.doctor import golden_numbers
from diadbench.benchmark.doctor.bill import Machine, Share, bill, hours_of
from diadbench.benchmark.doctor.data_roots import look_at_data
from diadbench.benchmark.doctor.examine import examine
from diadbench.benchmark.doctor.finding import Finding
from diadbench.benchmark.doctor.golden_numbers import TOLERANCE, look_at_numbers
from diadbench.benchmark.doctor.pretrained import look_for_weights
from diadbench.benchmark.doctor.software import look_at_software
from diadbench.benchmark.doctor.trials import Wanted, _finding, _speed, steps_of, try_method
from diadbench.benchmark.planning.forecast import by_speed, plan_table
from diadbench.benchmark.planning.grid import Grid, parse_grid
from diadbench.benchmark.planning.plan import make_plan
from diadbench.benchmark.planning.resolving.resolve import resolve_method
from diadbench.benchmark.planning.speeds import Speed
from diadbench.benchmark.records.store import RunDirectory
from diadbench.cli import main
from tests.helpers.scripts import script

ROOT = Path(__file__).resolve().parents[2]
TOY = {"options": {"classes": ["weave"], "train": 4, "test_good": 2, "test_bad": 2, "size": 64}}


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DIADBENCH_DATA", raising=False)


def grid(**more: Any) -> Grid:
    values = {"name": "small", "methods": ["mean-image"], "datasets": {"toy": TOY}, "image_size": 64, "device": "cpu"}
    return parse_grid({**values, **more})


def failed(findings: list[Finding]) -> list[Finding]:
    found = [finding for finding in findings if finding.state == "fail"]
    assert all("\n" not in finding.line() for finding in found)
    return found


# -- software -----------------------------------------------------------------------------------------------------


def test_what_is_installed_is_within_its_bounds() -> None:
    assert failed(look_at_software()) == []


def test_a_wrong_torch_fails_with_the_bounds_and_the_command() -> None:
    def version_of(name: str) -> str:
        return "2.4.1" if name == "torch" else importlib.metadata.version(name)

    (wrong,) = failed(look_at_software(version_of))
    assert wrong.name == "torch"
    assert re.search(r"2\.4\.1, expected >=2\.5; pip install 'torch>=2\.5'", wrong.line())


def test_a_missing_package_fails() -> None:
    def version_of(name: str) -> str:
        if name == "timm":
            raise importlib.metadata.PackageNotFoundError(name)
        return importlib.metadata.version(name)

    (wrong,) = failed(look_at_software(version_of))
    assert "timm: not installed, expected >=1.0.15; pip install 'timm>=1.0.15'" in wrong.line()


# -- weights ------------------------------------------------------------------------------------------------------


def weights_of(name: str, **options: Any) -> list[Finding]:
    return look_for_weights({name: (name, resolve_method(name, options).options)})


def test_weights_that_are_missing_fail_with_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    lines = [finding.line() for finding in failed([*weights_of("diad"), *weights_of("uniad")])]
    assert len(lines) == 3
    assert "hf download stable-diffusion-v1-5/stable-diffusion-v1-5 --include 'unet/*'" in lines[0]
    assert "hf download timm/resnet50.a1_in1k model.safetensors" in lines[1]
    assert "hf download timm/tf_efficientnet_b4.aa_in1k model.safetensors" in lines[2]


def test_weights_in_the_hubs_cache_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "models--timm--tf_efficientnet_b4.aa_in1k" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").touch()
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert [finding.state for finding in weights_of("uniad")] == ["ok"]


def test_a_file_of_weights_that_is_named_and_not_there_fails(tmp_path: Path) -> None:
    (wrong,) = failed(weights_of("patchcore", weights=str(tmp_path / "no.pth")))
    assert f"{tmp_path / 'no.pth'}: nothing there" in wrong.line()
    (tmp_path / "no.pth").touch()
    assert failed(weights_of("patchcore", weights=str(tmp_path / "no.pth"))) == []


# -- data ---------------------------------------------------------------------------------------------------------


def test_a_broken_data_root_fails(tmp_path: Path) -> None:
    from diadbench.datasets.samples import make_sample

    make_sample("mvtec", tmp_path / "mvtec")
    whole = grid(datasets={"mvtec": {"root": str(tmp_path / "mvtec")}})
    findings, images = look_at_data(whole)
    assert failed(findings) == []
    assert images["mvtec"] is not None
    for path in sorted((tmp_path / "mvtec").rglob("test/*/*.png")):
        path.write_bytes(path.read_bytes()[:40])  # a download that was cut off
    (wrong,) = failed(look_at_data(whole)[0])
    assert re.search(r"files can't be read: .*\.png.*diadbench datasets check mvtec", wrong.line())
    shutil.rmtree(tmp_path / "mvtec")
    (tmp_path / "mvtec").mkdir()
    (empty,) = failed(look_at_data(whole)[0])
    assert "datasets.mvtec.root=" in empty.line()


def test_data_that_nobody_has_named_fail_with_where_they_are_from_and_count_as_published() -> None:
    findings, images = look_at_data(grid(datasets=["mvtec"]))
    (wrong,) = failed(findings)
    assert "diadbench datasets info mvtec" in wrong.line()
    assert images == {"mvtec": (3629, 1725)}


# -- numbers ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def computed() -> dict[str, list[Any]]:
    """Return what this processor computes, once for all tests: it takes seconds."""
    return {name: list(getattr(golden_numbers, name)("cpu")) for name in ("_diad", "_uniad")}


@pytest.fixture(autouse=True)
def _compute_once(computed: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, results in computed.items():
        monkeypatch.setattr(golden_numbers, name, lambda device, results=results: iter(results))


def test_this_processor_computes_the_authors_numbers() -> None:
    findings = look_at_numbers("cpu")
    assert [(finding.name, finding.state) for finding in findings] == [("DiAD", "ok"), ("UniAD", "ok")]
    assert all(max(finding.values["differences"].values()) < TOLERANCE["cpu"] for finding in findings)


def test_a_device_that_computes_wrong_numbers_fails() -> None:
    def through(name: str, found: Tensor) -> Tensor:
        return found * 1.001 if name in ("noise estimate", "decoder") else found

    diad, uniad = failed(look_at_numbers("cpu", through))
    assert "cpu computes other numbers than the authors' code: noise estimate; noise estimate is off by 1.0e-03" in (
        diad.line()
    )
    assert "decoder" in uniad.line()
    assert "trust no figure of this device" in uniad.line()


def test_a_device_that_gives_no_numbers_or_raises_fails() -> None:
    def nothing(name: str, found: Tensor) -> Tensor:
        return found * float("nan") if name == "decoder" else found

    assert [finding.name for finding in failed(look_at_numbers("cpu", nothing))] == ["UniAD"]

    def raises(name: str, found: Tensor) -> Tensor:
        raise NotImplementedError("aten::upsample is not implemented for this device")

    assert len(failed(look_at_numbers("cpu", raises))) == 2


def test_the_shipped_numbers_are_those_of_the_tests() -> None:
    import numpy as np

    module = script("tests/golden/cut.py")
    path = ROOT / "benchmark" / "doctor" / "golden_numbers.npz"
    assert path.stat().st_size < 400_000
    with np.load(path) as shipped:
        expected = module.cut()
        assert set(shipped.files) == set(expected)
        assert all(np.array_equal(shipped[name], value) for name, value in expected.items())


# -- speed and cost -----------------------------------------------------------------------------------------------


def wanted(name: str, **options: Any) -> Wanted:
    return Wanted(name, name, resolve_method(name, options).options, (64, 64), 2, "cpu", 1)


def test_a_step_and_a_prediction_are_measured_in_a_process_of_their_own() -> None:
    finding, speed = try_method(wanted("draem", width=8, segmentation_width=6, steps=700, batch_size=4), 120.0)
    assert finding.state == "ok", finding.line()
    assert re.search(r"64x64, cpu, 1 threads: a training step .* \(timed with 1 of the 4 images", finding.what)
    assert speed is not None
    assert speed.step is not None
    assert speed.step > 0
    assert (speed.steps, speed.steps_an_image) == (700, 0)
    assert speed.cpu_bytes is not None
    assert 1e8 < speed.cpu_bytes < 4e9
    assert speed.test_image is not None
    whole = speed.seconds(100, 10)
    assert whole == pytest.approx(700 * speed.step + 10 * speed.test_image)


def test_what_takes_too_long_is_ended_and_said() -> None:
    finding, speed = try_method(wanted("draem", width=8, segmentation_width=6), 5.0)
    if finding.state == "note":  # a fast machine is through in time
        assert "ended after 5 s; diadbench doctor --full lets it go on" in finding.what
        assert speed is None or speed.test_image is None


def test_a_trial_that_fails_is_a_failure_with_the_reason() -> None:
    broken = Wanted("draem", "draem", resolve_method("draem", {"width": 8}).options, (50, 50), 2, "cpu", 1)
    finding, speed = try_method(broken, 120.0)
    assert finding.state == "fail"
    assert "image sides must be multiples" in finding.line()
    assert speed is None


def test_a_stage_that_is_not_timed_leaves_the_hours_unknown() -> None:
    tiny = wanted("diad", size="tiny", weights="random", autoencoder_steps=4, train_steps=9)
    facts = {"fit": 3.0, "step": 0.5, "test_image": 0.1, "cpu_bytes": 1, "gpu_bytes": 0}
    assert _finding(tiny, facts, "", "", 1.0).what.endswith("so the hours of a cell aren't known")
    speed = _speed(tiny, facts, 1.0)
    assert speed is not None
    assert (speed.steps, speed.step, speed.seconds(10, 10)) == (13, None, None)


def test_budgets_in_epochs_grow_with_the_data_and_others_do_not() -> None:
    assert steps_of(wanted("uniad", epochs=10, batch_size=5)) == (0, pytest.approx(2))
    assert steps_of(wanted("diad", size="tiny", weights="random", train_steps=70)) == (70, 0)


def test_the_bill_says_hours_and_what_does_not_fit() -> None:
    speed = Speed(step=2.0, steps=1800, test_image=1.0, cpu_bytes=20e9, disk_bytes=5e9)
    share = Share("DiAD", "diad", speed, {"mvtec": (100, 3600), "visa": (100, 0)}, 3)
    assert hours_of(share) == pytest.approx(3 * (1 + 1 + 1))
    small = bill([share], Machine(16e9, 0, 10e9), jobs=2)
    assert [finding.state for finding in small] == ["fail", "fail"]
    assert "won't fit: 2 at once need 40.0 GB of 16.0 GB of memory; set smaller batches" in small[0].line()
    assert "30.0 GB of disk, 10 are free" in small[1].line()
    untried = bill([Share("DiAD", "diad", None, {"mvtec": (100, 3600)}, 1, needs=20e9)], Machine(16e9, 0, 1e12), jobs=1)
    assert "won't fit: 1 at once need 20.0 GB of 16.0 GB of memory; set smaller batches" in untried[0].line()
    large = bill([share], Machine(64e9, 0, 1e12), jobs=2)
    assert [finding.state for finding in large] == ["ok", "ok"]
    assert large[1].values["hours"] == pytest.approx(9)


# -- all of it ----------------------------------------------------------------------------------------------------


def test_a_small_grid_passes_and_its_speeds_feed_the_forecast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(grid().to_yaml())
    assert main(["doctor", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["machine_ok"], found["grid_ok"]) == (True, True, True)
    assert found["verdict"] == ["this machine: computes rightly", "grid small: can run here"]
    assert {finding["part"] for finding in found["findings"]} == {"software", "data", "numbers", "speed", "cost"}
    plan = make_plan(grid(), RunDirectory(tmp_path / "run", must_exist=False))
    (cell,) = plan.cells
    cost = by_speed(cell)
    assert cost is not None
    assert cost.seconds is not None
    assert cost.seconds > 0
    assert "≈: 1 by speeds that diadbench doctor measured" in str(plan_table(plan).caption)


def test_what_fails_is_the_exit_code_and_a_text_for_an_issue(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(grid(datasets={"mvtec": {"root": str(tmp_path)}}).to_yaml())
    assert main(["doctor", str(path), "--issue"]) == 1
    text = capsys.readouterr().out
    assert text.startswith("<details>")
    assert "fail  data: mvtec: " in text
    assert (
        "this machine: computes rightly\ngrid small: still needs 1 thing:\n  data of mvtec: name the right folder"
        in text
    )


@pytest.mark.parametrize("broken", ["torch", "numbers"])
def test_a_wrong_machine_is_told_apart_from_what_the_grid_needs(broken: str) -> None:
    def version_of(name: str) -> str:
        return "2.4.1" if name == broken else importlib.metadata.version(name)

    def through(name: str, result: Tensor) -> Tensor:
        return result * (2 if broken == "numbers" else 1)

    found = examine(grid(datasets=["mvtec"]), limit=0.0, version_of=version_of, through=through)
    lines = "\n".join(found.verdict.lines())
    wanted = (
        "software of torch: pip install 'torch>=2.5'" if broken == "torch" else "numbers of DiAD, numbers of UniAD: "
    )
    assert re.match(rf"this machine: [12] things? wrong; mend first:\n  {re.escape(wanted)}", lines)
    assert "\ngrid small: still needs 1 thing:\n  data of mvtec: diadbench datasets info mvtec" in lines
    whole = json.loads(found.to_json())
    assert (whole["ok"], whole["machine_ok"], whole["grid_ok"]) == (False, False, False)
    assert whole["verdict"] == found.verdict.lines()


def test_what_was_not_tried_is_said_beside_a_good_verdict() -> None:
    found = examine(grid(), limit=0.0)
    assert found.verdict.lines() == [
        "this machine: computes rightly, but not all of mean-image was timed",
        "grid small: can run here",
    ]


def test_the_whole_examination_passes_injections_on() -> None:
    def version_of(name: str) -> str:
        return "2.4.1" if name == "torch" else importlib.metadata.version(name)

    found = examine(grid(), limit=0.0, version_of=version_of, through=lambda name, result: result * 2)
    assert [(finding.part, finding.name) for finding in found.failed] == [
        ("software", "torch"),
        ("numbers", "DiAD"),
        ("numbers", "UniAD"),
    ]
    assert any("no time left" in finding.what for finding in found.findings)
