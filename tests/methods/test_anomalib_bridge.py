"""The bridge: names without an import, options with types, training, keeping, and reasons for what can't run here."""

from __future__ import annotations

import inspect
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from diadbench.common.errors import Skip, UserError
from diadbench.common.processes import interrupt
from diadbench.methods.anomalib_models.bridge import bridge
from diadbench.methods.anomalib_models.names import model_names
from diadbench.methods.anomalib_models.reasons import reasons
from diadbench.methods.authoring.small_data import anomalous_images, normal_images, small_train
from diadbench.methods.base import RunContext
from diadbench.methods.registry import get_class
from diadbench.methods.simple.padim import Padim

LITE0: dict[str, Any] = {"backbone": "tf_efficientnet_lite0", "weights": "package"}


@pytest.fixture
def run(tmp_path: Path) -> RunContext:
    return RunContext(0, torch.device("cpu"), (64, 64), ("stripes0", "stripes1"), tmp_path, tmp_path / "cache")


def test_names_are_known_without_importing_anomalib() -> None:
    code = "import sys; from diadbench.methods.anomalib_models.names import model_names; print(len(model_names())); "
    code += "sys.exit(any(name in sys.modules for name in ('torch', 'anomalib', 'lightning')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 30


def test_every_model_of_the_installed_anomalib_gets_a_signature_of_plain_types() -> None:
    import anomalib.models

    for name in model_names():
        cls = bridge(name)
        assert issubclass(getattr(anomalib.models, name), torch.nn.Module)
        assert {"weights", "batch_size", "max_epochs", "max_steps"} <= set(inspect.signature(cls).parameters)
        assert not {"pre_processor", "evaluator", "visualizer"} & set(inspect.signature(cls).parameters)
        assert cls.info.name == f"anomalib:{name}"


def test_options_are_checked_as_of_any_method() -> None:
    from diadbench.benchmark.planning.resolving.resolve import checked_options

    cls = get_class("anomalib:Dfkde")
    options = checked_options(cls, {"feature_scaling_method": "norm", "n_pca_components": 4})
    assert options["feature_scaling_method"] == "norm"
    assert options["layers"] == ["layer4"]
    with pytest.raises(UserError, match="n_pca_components"):
        checked_options(cls, {"n_pca_component": 4})
    with pytest.raises(UserError):
        checked_options(cls, {"n_pca_components": "many"})
    with pytest.raises(UserError, match="n_pca_components"):
        cls(n_pca_component=4)


def test_unknown_models_get_a_hint() -> None:
    with pytest.raises(UserError, match="Padim"):
        get_class("anomalib:Paddim")


def test_padim_finds_blots_and_is_kept(run: RunContext, tmp_path: Path) -> None:
    options: dict[str, Any] = {**LITE0, "layers": ("blocks.1", "blocks.2"), "n_features": 20}
    method = Padim(**options)
    method.fit(small_train(2), run)
    assert run.notes == []
    images = anomalous_images(4, 1)[0]
    found = method.predict(images)
    assert found.score.min() > method.predict(normal_images(4, 1, seed=7)).score.max()
    assert found.anomaly_map.shape == (4, 64, 64)
    (tmp_path / "kept").mkdir()
    method.save(tmp_path / "kept")
    again = Padim(**options)
    again.load(tmp_path / "kept", run)
    assert torch.equal(again.predict(images).anomaly_map, found.anomaly_map)


def test_weights_reach_the_model_with_their_normalisation(run: RunContext) -> None:
    from diadbench.methods.features.backbones import load_backbone

    method = bridge("Patchcore")(**LITE0, layers=["blocks.2", "blocks.4"], coreset_sampling_ratio=0.05)
    method.fit(small_train(1, images=4), run)
    normalise = method._model.pre_processor.transform.transforms[-1]
    assert list(normalise.mean) == [0.5] * 3
    expected = load_backbone("tf_efficientnet_lite0", weights="package", out_indices=(2, 3)).network.state_dict()
    state = method._model.model.feature_extractor.feature_extractor.state_dict()
    assert all(torch.equal(state[key], expected[key]) for key in state if key in expected)


def test_weights_are_refused_where_the_model_takes_none(run: RunContext) -> None:
    with pytest.raises(UserError, match="fetches its weights itself"):
        bridge("Ganomaly")(weights="package").fit(small_train(1, images=2), run)
    with pytest.raises(UserError, match="`weights: package` holds tf_efficientnet_lite0"):
        bridge("Stfpm")(weights="package").fit(small_train(1, images=2), run)


def test_weights_not_asked_for_are_said(run: RunContext) -> None:
    bridge("Patchcore")(backbone="resnet10t", layers=["layer1"], pre_trained=False, coreset_sampling_ratio=0.05).fit(
        small_train(1, images=2), run
    )
    assert run.notes == ["random backbone weights"]


class Killed(BaseException):
    pass


def _ganomaly(run: RunContext, minutes: float) -> Any:
    options: dict[str, Any] = {"max_epochs": 3, "batch_size": 4, "n_features": 4, "latent_vec_size": 8}
    torch.manual_seed(run.seed)
    method = bridge("Ganomaly")(**options, checkpoint_minutes=minutes)
    method.fit(small_train(2), run)  # 16 images: four steps an epoch
    return method


@pytest.mark.parametrize("killed_after", [3, 6, 8])
def test_training_goes_on_from_its_last_checkpoint(run: RunContext, tmp_path: Path, killed_after: int) -> None:
    calm = _ganomaly(replace(run, directory=tmp_path / "calm"), 6000.0)
    assert not list((tmp_path / "calm").glob("*.ckpt")), "nothing is due"
    steps: list[int] = []

    def kill(done: int, total: int, what: str) -> None:
        steps.append(done)
        if len(steps) == killed_after:
            raise Killed

    with pytest.raises(Killed):
        _ganomaly(replace(run, progress=kill), 0.0)
    after: list[int] = []
    stormy = _ganomaly(replace(run, progress=lambda done, total, what: after.append(done)), 0.0)
    assert len(after) == 12 - killed_after + 1, "the step whose end was not saved is done again, no other"
    for key, value in calm._model.state_dict().items():
        assert value.equal(stormy._model.state_dict()[key]), key


def test_sigterm_leaves_a_checkpoint_however_long_the_interval(run: RunContext) -> None:
    interrupt.install()

    def end(done: int, total: int, what: str) -> None:
        if what == "steps" and not interrupt.is_pending():
            signal.raise_signal(signal.SIGTERM)

    try:
        with pytest.raises(interrupt.Terminated):
            _ganomaly(replace(run, progress=end), 6000.0)
    finally:
        interrupt._State.pending = interrupt._State.raised = interrupt._State.installed = False
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
    after: list[int] = []
    _ganomaly(replace(run, progress=lambda done, total, what: after.append(done)), 6000.0)
    assert len(after) == 11


def test_a_model_of_one_pass_says_that_it_writes_no_checkpoint(run: RunContext) -> None:
    options: dict[str, Any] = {**LITE0, "layers": ["blocks.2", "blocks.4"], "coreset_sampling_ratio": 0.05}
    bridge("Patchcore")(**options, checkpoint_minutes=0.0).fit(small_train(1, images=4), run)
    assert "checkpoint_minutes 0 not used: the model passes once over the images" in run.notes
    assert not list(run.directory.rglob("*.ckpt"))
    with pytest.raises(UserError, match="checkpoint_minutes is -1"):
        bridge("Patchcore")(**options, checkpoint_minutes=-1.0)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ImportError("No module named open_clip"), "needs a package"),
        (AssertionError("Torch not compiled with CUDA enabled"), "needs CUDA"),
        (ConnectionError("no route"), "no network"),
    ],
)
def test_reasons_are_skips(error: Exception, text: str, run: RunContext) -> None:
    with pytest.raises(Skip, match=text), reasons("Padim", run):
        raise error


def test_what_the_bridge_puts_in_for_a_model_is_a_note(run: RunContext) -> None:
    """Dfkde gives a score for an image and no map; a memory bank needs one epoch, whatever the option says."""
    method = bridge("Dfkde")(**LITE0, layers=["blocks.4"], n_pca_components=2, max_epochs=7)
    method.fit(small_train(1, images=6), run)
    assert any(note.startswith("max_epochs 7 not used") for note in run.notes)
    images = anomalous_images(2, 1)[0]
    found = method.predict(images)
    method.predict(images)
    assert torch.equal(found.anomaly_map.amax((1, 2)), found.score)
    assert run.notes.count("no anomaly map from this model: each pixel has the image's score") == 1


def test_a_model_that_wants_image_files_says_so(run: RunContext) -> None:
    batch = SimpleNamespace(image_path=None)
    with pytest.raises(Skip, match="needs the files of the images"), reasons("VlmAd", run):
        assert batch.image_path is not None
    with pytest.raises(AssertionError), reasons("VlmAd", run):
        assert batch is None


def test_other_failures_stay_failures(run: RunContext) -> None:
    with pytest.raises(ZeroDivisionError), reasons("Padim", run):
        raise ZeroDivisionError


@pytest.mark.parametrize("name", ["Cflow", "Padim"])
def test_a_model_whose_maps_depend_on_the_batch_says_so(name: str, run: RunContext) -> None:
    cls: Any = bridge(name)
    method = cls(**LITE0, layers=["blocks.2"], **({"max_steps": 1} if name == "Cflow" else {"n_features": 10}))
    method.fit(small_train(2, images=4, size=64), run)
    images = torch.cat([normal_images(2, 0, size=64, seed=7), anomalous_images(2, 1, size=64)[0]])
    together = method.predict(images).anomaly_map
    alone = torch.cat([method.predict(image[None]).anomaly_map for image in images])
    same = bool((together - alone).abs().max() <= 2e-3 * together.abs().max())
    assert same == cls.info.batch_invariant
    assert same == (not any("batch_size" in note for note in run.notes))
