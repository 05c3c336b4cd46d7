"""The conformance suite: it passes what is right, and says the right sentence for what is broken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diadbench.cli import main
from diadbench.common.errors import Skip
from diadbench.methods.authoring.conformance import SMALL_OPTIONS, assert_conforms, check_method
from diadbench.methods.authoring.new_method import short_budget
from diadbench.methods.authoring.template import MyMethod
from diadbench.methods.base import Method, Prediction, RunContext
from diadbench.methods.info import MethodInfo
from diadbench.methods.registry import TABLE, get_class


class Good(MyMethod):
    """The base of all broken ones."""


class Unseeded(Good):
    def fit(self, train: Any, run: RunContext) -> None:
        super().fit(train, run)
        noise = torch.rand(self.state["mean"].shape, generator=torch.Generator().manual_seed(torch.seed()))
        self.state["mean"] = self.state["mean"] + 0.1 * noise


class WrongShape(Good):
    def predict(self, images: Tensor) -> Prediction:
        found = super().predict(images)
        return Prediction(found.anomaly_map[:, ::2, ::2], found.score)


class NotFinite(Good):
    def predict(self, images: Tensor) -> Prediction:
        found = super().predict(images)
        return Prediction(found.anomaly_map, found.score / 0 * 0)


class Peeks(Good):
    def fit(self, train: Any, run: RunContext) -> None:
        super().fit(train, run)
        try:
            self.threshold = float(train.labels.float().mean())
        except Exception:
            self.threshold = 0.5


class PeeksInBatch(Good):
    def fit(self, train: Any, run: RunContext) -> None:
        super().fit(train, run)
        self.normal = sum(0 if batch.label is None else int((batch.label == 0).sum()) for batch in train.batches(4))


class Forgets(Good):
    def save(self, directory: Path) -> None:
        self.state, state = {**self.state, "std": torch.ones_like(self.state["std"])}, self.state
        super().save(directory)
        self.state = state


class NormalisesByBatch(Good):
    def predict(self, images: Tensor) -> Prediction:
        found = super().predict(images)
        return Prediction(found.anomaly_map / found.anomaly_map.max(), found.score / found.score.max())


class CountsImages(Good):
    seen = 0

    def predict(self, images: Tensor) -> Prediction:
        found = super().predict(images)
        self.seen += len(images)
        return Prediction(found.anomaly_map, found.score + self.seen)


class ByPosition(Good):
    """Test sets come normal images first; a place in the batch must tell nothing."""

    def predict(self, images: Tensor) -> Prediction:
        found = super().predict(images)
        return Prediction(found.anomaly_map, found.score + torch.arange(len(images)))


class NeedsTwoClasses(Good):
    def fit(self, train: Any, run: RunContext) -> None:
        if len(train.class_names) < 2:
            raise ValueError("classes to tell apart: expected 2 or more")
        super().fit(train, run)


class OneClassOnly(Good):
    def fit(self, train: Any, run: RunContext) -> None:
        (self.name,) = train.class_names
        super().fit(train, run)


class ChangesImages(Good):
    def predict(self, images: Tensor) -> Prediction:
        return super().predict(images.mul_(0.5))


class NoTypes(Good):
    def __init__(self, width=3) -> None:
        super().__init__()


class NoLoad(Method):
    info = MethodInfo("no-load", "No load", "Lacks half.")

    def fit(self, train: Any, run: RunContext) -> None: ...

    def predict(self, images: Tensor) -> Prediction:
        raise NotImplementedError


class Exits(Good):
    def fit(self, train: Any, run: RunContext) -> None:
        raise SystemExit(3)


class SaysMuch(Good):
    def fit(self, train: Any, run: RunContext) -> None:
        raise RuntimeError("first\nsecond " + "x" * 2000)


class NeedsPackage(Good):
    def fit(self, train: Any, run: RunContext) -> None:
        import a_package_that_nobody_has  # noqa: F401


BROKEN: list[tuple[type[Method], str, str]] = [
    (Unseeded, "same seed", "two fits with the same seed give different predictions"),
    (WrongShape, "shapes and finite values", "anomaly_map must have the shape (8, 64, 64), it has (8, 32, 32)"),
    (NotFinite, "shapes and finite values", "score has values that are not finite"),
    (Peeks, "fits many classes", "asks the training data for 'labels'"),
    (PeeksInBatch, "fits many classes", "asks the training data for 'label'"),
    (Forgets, "save and load", "something that predict needs is not saved"),
    (NormalisesByBatch, "batch size", "the result depends on the batch"),
    (CountsImages, "predict repeats", "predict gives another result the second time"),
    (ByPosition, "order of images", "the order of the images changes their predictions"),
    (NeedsTwoClasses, "fits one class", "expected 2 or more"),
    (OneClassOnly, "fits many classes", "too many values to unpack"),
    (ChangesImages, "shapes and finite values", "predict changes the images"),
    (NoTypes, "interface", "option 'width' has no type hint"),
    (NoLoad, "interface", "NoLoad has no save, load"),
    (Exits, "fits many classes", "SystemExit: 3 ("),
    (SaysMuch, "fits many classes", "RuntimeError: first\\nsecond xxx"),
]


@pytest.mark.parametrize(("cls", "check", "sentence"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_broken_methods_fail_with_the_right_sentence(cls: type[Method], check: str, sentence: str) -> None:
    failed = {outcome.name: outcome.text for outcome in check_method(cls) if outcome.status == "failed"}
    if cls is NoLoad:
        sentence = "NoLoad has no"
    assert list(failed) == [check]  # one fault, one failure
    assert sentence in failed[check]
    assert len(failed[check]) <= 300
    assert "\n" not in failed[check]
    with pytest.raises(AssertionError, match=check):
        assert_conforms(cls)


def test_the_template_conforms() -> None:
    assert_conforms(MyMethod)
    assert_conforms(Good, {"smallest_std": 0.2})


def test_a_missing_package_is_no_failure() -> None:
    outcomes = list(check_method(NeedsPackage))
    assert [outcome.status for outcome in outcomes] == ["passed", "skipped"]
    assert "a_package_that_nobody_has is not installed" in outcomes[-1].text
    with pytest.raises(Skip, match="a_package_that_nobody_has"):
        assert_conforms(NeedsPackage)


@pytest.mark.parametrize("name", [name for name in TABLE if name in {"mean-image", "pixel-knn", *SMALL_OPTIONS}])
def test_methods_of_the_project_conform(name: str) -> None:
    assert_conforms(get_class(name), SMALL_OPTIONS.get(name))


# -- on the command line ----------------------------------------------------------------------------------------


def test_new_then_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "new", "colour-Check2", "--directory", str(tmp_path)]) == 0
    path = tmp_path / "colour_check_2.py"
    text = path.read_text()
    assert len(text.splitlines()) < 60
    assert 'MethodInfo("colour-check-2"' in text
    assert main(["methods", "check", f"{path}:ColourCheck2"]) == 0
    assert capsys.readouterr().out.count("passed") == 9
    assert main(["methods", "check", f"{path}:ColourCheck2", "--options", "smallest_std=0.1"]) == 0
    assert main(["methods", "new", "colour-Check2", "--directory", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.slow
def test_new_trained_then_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "new", "my-network", "--trained", "--directory", str(tmp_path)]) == 0
    path = tmp_path / "my_network.py"
    assert len([line for line in path.read_text().splitlines() if line.strip()]) < 80
    assert main(["methods", "check", f"{path}:MyNetwork"]) == 0
    told = capsys.readouterr().out
    assert told.count("passed") == 9
    assert "options   steps=6" in told


def test_a_long_training_is_checked_with_a_short_one() -> None:
    assert short_budget(get_class("draem"), {}) == {"steps": 6}
    assert short_budget(get_class("draem"), {"steps": 900}) == {}
    assert short_budget(MyMethod, {}) == {}


def test_check_speaks_before_it_imports_torch(tmp_path: Path) -> None:
    main(["methods", "new", "mine", "--directory", str(tmp_path)])
    code = (
        "import builtins, sys\n"
        "from diadbench.cli import main\n"
        "say = print\n"
        "def told(*words, **options):\n"
        "    assert 'torch' not in sys.modules\n"
        "    say(*words, **options)\n"
        "    builtins.print = say\n"
        "builtins.print = told\n"
        f"sys.exit(main(['methods', 'check', {str(tmp_path / 'mine.py')!r} + ':Mine']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("checking  ")


def test_progress_tells_the_check_and_the_fit() -> None:
    told: list[str] = []
    list(check_method(MyMethod, progress=lambda done, total, what: told.append(what)))
    assert "fits many classes: images" in told
    assert told[0] == "interface"


def test_a_preset_is_checked_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "check", "padim-lite", "--options", "n_features=500"]) in (0, 1)
    assert "checking  padim-lite" in capsys.readouterr().out
    assert main(["methods", "check", "padim-lite", "--options", "n_featurs=5"]) == 2
    assert "did you mean n_features" in capsys.readouterr().err


def test_check_tells_failures_from_missing_packages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["methods", "new", "mine", "--directory", str(tmp_path)])
    good = (tmp_path / "mine.py").read_text()
    (tmp_path / "broken.py").write_text(good.replace("amax((1, 2))", "amax((1, 2)) * float('nan')"))
    assert main(["methods", "check", f"{tmp_path}/broken.py:Mine"]) == 1
    assert "not finite" in capsys.readouterr().out
    (tmp_path / "needs.py").write_text(
        good.replace("import torch\n", "import a_package_that_nobody_has\nimport torch\n", 1)
    )
    assert main(["methods", "check", f"{tmp_path}/needs.py:Mine"]) == 3
    assert "a_package_that_nobody_has is not installed" in capsys.readouterr().out
    (tmp_path / "typo.py").write_text("def (:\n")
    assert main(["methods", "check", f"{tmp_path}/typo.py:Mine"]) == 2
    assert main(["methods", "check", f"{tmp_path}/mine.py:Mien"]) == 2
    assert "did you mean Mine?" in capsys.readouterr().err


def test_unknown_option_in_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "check", "pixel-knn", "--options", "sise=4"]) == 2
    assert "unknown option 'sise'; did you mean size?" in capsys.readouterr().err
    assert main(["methods", "check", "pixel-knn", "--options", "size=big"]) == 2
    assert "size: expected a whole number, found 'big'" in capsys.readouterr().err
    assert main(["methods", "check", "pixel-knn", "--options", "size"]) == 2


def test_list_and_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in TABLE)
    assert main(["methods", "list", "--anomalib"]) == 0
    assert "anomalib:Padim" in capsys.readouterr().out
    assert main(["methods", "info", "patchcore"]) == 0
    assert "budget: int = 50000" in capsys.readouterr().out
    assert main(["methods", "info", "padim-lite"]) == 0
    assert "n_features: int = 100   in a grid: 100" in capsys.readouterr().out
    assert "patchcore-lite" in listed
