"""The conformance suite: requirements of every method, checked on a few small images in under a minute.

On the command line: ``diadbench methods check my_method.py:MyMethod``. In an author's own tests::

    from diadbench.methods.authoring.conformance import assert_conforms

    def test_my_method():
        assert_conforms(MyMethod)
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from diadbench.common.errors import Skip, UserError
from diadbench.methods.authoring.guarded_data import GuardedData, LabelPeekError
from diadbench.methods.authoring.new_method import check_gpu
from diadbench.methods.authoring.small_data import anomalous_images, normal_images, small_train
from diadbench.methods.base import Method, Prediction, RunContext, no_progress
from diadbench.methods.info import MethodInfo

#: Relative differences below this are rounding (libraries compute other batch sizes in other ways).
ROUNDING = 2e-3
#: Tolerance for the same computation done twice.
SAME = 1e-5

_LITE0: dict[str, Any] = {"backbone": "tf_efficientnet_lite0", "weights": "package"}
#: Options that make the project's own methods small enough for the suite.
SMALL_OPTIONS: dict[str, dict[str, Any]] = {
    "global-knn": {**_LITE0, "level": 3},
    "patchcore": {**_LITE0, "embedding": "concat", "ratio": 0.1},
    "padim": {**_LITE0, "layers": ["blocks.1", "blocks.2"], "n_features": 20},
    "uniad": {
        **_LITE0,
        "layers": [1, 2, 3],
        "neighbor_size": 3,
        "hidden": 32,
        "heads": 2,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "feedforward": 32,
        "steps": 6,
    },
    "draem": {"width": 4, "segmentation_width": 4, "steps": 5, "batch_size": 4},
    "diad": {
        "size": "tiny",
        "weights": "random",
        "autoencoder_steps": 2,
        "autoencoder_batch_size": 4,
        "autoencoder_accumulate": 1,
        "train_steps": 3,
        "batch_size": 2,
        "accumulate": 1,
        "steps": 2,
        "scale_latents": True,
        "backbone": "tf_efficientnet_lite0",
        "backbone_weights": "package",
    },
}


#: Results of a check, see :class:`Outcome`.
Status = Literal["passed", "failed", "skipped", "open"]


class CheckFailed(Exception):
    """A method violates the contract; the text is a sentence for its author."""


@dataclass(frozen=True)
class Outcome:
    """Result of one check.

    Attributes:
        name: What was checked.
        status: ``passed``, ``failed``, ``skipped`` if a requirement of the method is missing, or ``open`` if an earlier
            failure prevents the check, so that one fault fails only once.
        text: Why it failed or was skipped.
        seconds: Wall time.
    """

    name: str
    status: Status
    text: str = ""
    seconds: float = 0.0


def check_method(
    cls: type[Method],
    options: dict[str, Any] | None = None,
    *,
    size: int = 64,
    images: int = 8,
    device: str = "cpu",
    progress: Callable[[int, int, str], None] = no_progress,
) -> Iterator[Outcome]:
    """Yield the outcome of every check.

    Args:
        cls: The method.
        options: Its options; choose small ones.
        size: Side of the square images in pixels.
        images: Training images a class.
        device: ``cpu``, or ``cuda``, which adds the checks for a GPU, with full float32 products.
        progress: Called as ``progress(done, total, what)`` for each check, and with the method's own progress reports.

    Raises:
        Skip: There is no such device.
        UserError: The method's answers were made elsewhere.
    """
    if getattr(getattr(cls, "info", None), "by_sample", False):
        raise UserError(f"{cls.info.name}: its answers were made elsewhere; there is no model to check")
    if device.startswith("cuda"):
        check_gpu(device)
    bench = _Bench(cls, dict(options or {}), size, images, torch.device(device), progress)
    with _full_products(bench.device):
        yield from _outcomes(bench)


def _outcomes(bench: _Bench) -> Iterator[Outcome]:
    failed: list[str] = []
    for place, (name, check) in enumerate(bench.checks.items()):
        began = time.monotonic()
        bench.tell(place, name)
        told_by = next((other for other in RESTS_ON.get(name, ()) if other in failed), "")
        if told_by:
            failed.append(name)
            yield Outcome(name, "open", f"rests on {told_by!r}, which failed")
            continue
        status, text = _outcome(partial(check, bench))
        if status != "passed":
            failed.append(name)
        yield Outcome(name, status, text, time.monotonic() - began)
        if status != "passed" and name in ("interface", "fits many classes"):
            return  # Nothing else can be checked.


@contextmanager
def _full_products(device: torch.device) -> Iterator[None]:
    """Compute float32 products on a GPU in full precision, so that they can be compared with the CPU's."""
    backends: Any = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends] if device.type == "cuda" else []
    try:
        for backend, _ in zip(backends, before):
            backend.allow_tf32 = False
        yield
    finally:
        for backend, value in zip(backends, before):
            backend.allow_tf32 = value


def assert_conforms(cls: type[Method], options: dict[str, Any] | None = None, **settings: Any) -> None:
    """Run all checks, for pytest. Raises AssertionError with all failures, or Skip if a requirement is missing."""
    outcomes = list(check_method(cls, options, **settings))
    failures = [f"{outcome.name}: {outcome.text}" for outcome in outcomes if outcome.status == "failed"]
    assert not failures, "\n".join(failures)
    skipped = [outcome for outcome in outcomes if outcome.status == "skipped"]
    if skipped:
        raise Skip(skipped[0].text)


def _outcome(check: Callable[[], None]) -> tuple[Status, str]:
    try:
        check()
    except CheckFailed as failure:
        return "failed", str(failure)
    except Skip as skip:
        return "skipped", str(skip)
    except ModuleNotFoundError as error:
        return "skipped", f"the package {error.name} is not installed; pip install it to check this method"
    except UserError as error:
        return "failed", f"it refuses its own options: {error}"
    except Exception as error:  # An author's code may raise anything; the place of the error helps.
        return "failed", f"{type(error).__name__}: {error} ({_place(error)})"
    return "passed", ""


def _place(error: BaseException) -> str:
    """Return the innermost line of the traceback."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


class _Bench:
    """A fitted method on small data, and functions to fit more of them."""

    def __init__(
        self,
        cls: type[Method],
        options: dict[str, Any],
        size: int,
        images: int,
        device: torch.device,
        progress: Callable[[int, int, str], None] = no_progress,
    ) -> None:
        self._progress, self._name = progress, ""
        self.cls, self.options, self.size, self.count, self.device = cls, options, size, images, device
        self.checks = CHECKS if device.type == "cpu" else {**CHECKS, **GPU_CHECKS}
        parts = [(normal_images(2, i, size=size, seed=7), anomalous_images(2, i, size=size)[0]) for i in range(2)]
        self.images = torch.cat([image for pair in parts for image in pair])
        self.method: Method | None = None
        self.first: Prediction | None = None

    def tell(self, place: int, name: str) -> None:
        """Report which check comes next."""
        self._name = name
        self._progress(place, len(self.checks), name)

    def _fitting(self, done: int, total: int, what: str) -> None:
        """Pass on the method's progress reports of its fit."""
        self._progress(done, total, f"{self._name}: {what}")

    @contextmanager
    def settings(self, classes: int = 2, seed: int = 0, device: torch.device | None = None) -> Iterator[RunContext]:
        """Return settings as the runner gives them, with everything seeded."""
        with tempfile.TemporaryDirectory(prefix="diadbench-check-") as scratch:
            names = tuple(f"stripes{i}" for i in range(classes))
            directory, cache = Path(scratch, "run"), Path(scratch, "cache")
            directory.mkdir()
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002 - as the runner does, for methods that use it
            torch.manual_seed(seed)
            size = (self.size, self.size)
            where = device or self.device
            yield RunContext(seed, where, size, names, directory, cache, progress=self._fitting)

    def given(self, images: Tensor) -> Tensor:
        """Return a copy of images on the device, as a cell passes them."""
        return images.clone().to(self.device)

    def fitted(self, classes: int = 2, device: torch.device | None = None) -> tuple[Method, GuardedData]:
        """Return a new, fitted method object."""
        data = GuardedData(small_train(classes, images=self.count, size=self.size))
        method = self.cls(**self.options)
        with self.settings(classes, device=device) as run:
            try:
                method.fit(data, run)
            except LabelPeekError as peek:
                raise CheckFailed(str(peek)) from peek
        return method, data

    def shared(self) -> tuple[Method, Prediction]:
        """Return the method that the checks of predict share, and its prediction of all images at once."""
        assert self.method is not None, "fits many classes comes first"
        if self.first is None:
            self.first = self.method.predict(self.given(self.images))
        return self.method, self.first


# -- the checks -----------------------------------------------------------------------------------------------


def _interface(bench: _Bench) -> None:
    import inspect

    cls = bench.cls
    if not isinstance(getattr(cls, "info", None), MethodInfo):
        raise CheckFailed(f"{cls.__name__}.info must be a MethodInfo(name, title, summary)")
    missing = [name for name in ("fit", "predict", "save", "load") if not callable(getattr(cls, name, None))]
    abstract = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing or abstract:
        raise CheckFailed(f"{cls.__name__} has no {', '.join(missing or abstract)}")
    for option in inspect.signature(cls).parameters.values():
        if option.kind in (option.VAR_KEYWORD, option.VAR_POSITIONAL):
            raise CheckFailed(f"__init__ takes *{option.name}: name every option, so that a typo in a grid is an error")
        if option.default is option.empty:
            raise CheckFailed(f"option {option.name!r} has no default")
        if option.annotation is option.empty:
            raise CheckFailed(f"option {option.name!r} has no type hint, so a grid's values can't be checked")
    cls(**bench.options)


def _many_classes(bench: _Bench) -> None:
    bench.method, data = bench.fitted(2)
    data.nobody_peeked(CheckFailed)


def _shapes(bench: _Bench) -> None:
    method, prediction = bench.shared()
    _well_formed(prediction, bench.images)
    given = bench.given(bench.images)
    method.predict(given)
    if not torch.equal(given.cpu(), bench.images):
        raise CheckFailed("predict changes the images that it is given; work on a copy")


def _one_class(bench: _Bench) -> None:
    method, _ = bench.fitted(1)
    images = bench.images[:4]
    _well_formed(method.predict(bench.given(images)), images)


def _same_seed(bench: _Bench) -> None:
    _, first = bench.shared()
    again, _ = bench.fitted(2)
    found = again.predict(bench.given(bench.images))
    _equal(first, found, SAME, "two fits with the same seed give different predictions")


def _repeat(bench: _Bench) -> None:
    method, first = bench.shared()
    torch.manual_seed(12345)  # A prediction must not depend on earlier random draws.
    found = method.predict(bench.given(bench.images))
    _equal(first, found, SAME, "predict gives another result the second time, for the same images")


def _batch_size(bench: _Bench) -> None:
    method, first = bench.shared()
    single = _joined([method.predict(bench.given(image[None])) for image in bench.images])
    _equal(first, single, ROUNDING, "the result depends on the batch: images one by one give other predictions")


def _order(bench: _Bench) -> None:
    method, first = bench.shared()
    order = torch.tensor([5, 2, 7, 0, 3, 6, 1, 4])
    found = method.predict(bench.given(bench.images[order]))
    back = torch.argsort(order).to(found.score.device)
    sorted_back = Prediction(found.anomaly_map[back], found.score[back])
    _equal(first, sorted_back, ROUNDING, "the order of the images changes their predictions")


def _kept(bench: _Bench) -> None:
    method, first = bench.shared()
    with bench.settings() as run, tempfile.TemporaryDirectory(prefix="diadbench-check-") as directory:
        method.save(Path(directory))
        if not any(Path(directory).iterdir()):
            raise CheckFailed("save writes nothing into its directory")
        again = bench.cls(**bench.options)
        again.load(Path(directory), run)
        found = again.predict(bench.given(bench.images))
    _equal(first, found, SAME, "after save and load the predictions differ: something that predict needs is not saved")


# -- what a GPU adds ------------------------------------------------------------------------------------------


def _on_the_device(bench: _Bench) -> None:
    _, first = bench.shared()
    for name in ("anomaly_map", "score"):
        found = getattr(first, name).device.type
        if found != bench.device.type:
            raise CheckFailed(f"{name} is on {found}, though the images and the run are on {bench.device.type}")


def _cpu_images(bench: _Bench) -> None:
    method, first = bench.shared()
    found = method.predict(bench.images.clone())
    _equal(first, found, SAME, "images that lie on the CPU give other predictions than the same images on the GPU")


def _as_on_the_cpu(bench: _Bench) -> None:
    cpu = torch.device("cpu")
    method, _ = bench.fitted(2, device=cpu)
    expected = method.predict(bench.images.clone())
    with bench.settings() as run, tempfile.TemporaryDirectory(prefix="diadbench-check-") as directory:
        method.save(Path(directory))
        again = bench.cls(**bench.options)
        again.load(Path(directory), run)
        found = again.predict(bench.given(bench.images))
    _equal(expected, found, ROUNDING, "a model that was fitted on the CPU predicts otherwise on the GPU")


def _same_bits(bench: _Bench) -> None:
    _, first = bench.shared()
    again, _ = bench.fitted(2)
    found = again.predict(bench.given(bench.images))
    _equal(first, found, 0.0, "two fits with the same seed differ on the GPU: an operation is not deterministic there")


CHECKS: dict[str, Callable[[_Bench], None]] = {
    "interface": _interface,
    "fits many classes": _many_classes,
    "shapes and finite values": _shapes,
    "predict repeats": _repeat,
    "order of images": _order,
    "batch size": _batch_size,
    "save and load": _kept,
    "same seed": _same_seed,
    "fits one class": _one_class,
}
#: Checks that would only repeat the failure of another check.
RESTS_ON = {
    "predict repeats": ("shapes and finite values",),
    "order of images": ("shapes and finite values", "predict repeats"),
    "batch size": ("shapes and finite values", "predict repeats", "order of images"),
    "save and load": ("shapes and finite values", "predict repeats"),
    "same seed": ("shapes and finite values", "predict repeats"),
    "fits one class": ("shapes and finite values",),
}


GPU_CHECKS: dict[str, Callable[[_Bench], None]] = {
    "results on the device": _on_the_device,
    "images of the CPU": _cpu_images,
    "as on the CPU": _as_on_the_cpu,
    "same bits twice": _same_bits,
}


# -- comparing ------------------------------------------------------------------------------------------------


def _well_formed(prediction: Prediction, images: Tensor) -> None:
    count, _, height, width = images.shape
    expected = {"anomaly_map": (count, height, width), "score": (count,)}
    if not isinstance(prediction, Prediction):
        raise CheckFailed(f"predict must return a Prediction, it returns {type(prediction).__name__}")
    if prediction.reconstruction is not None:
        expected["reconstruction"] = tuple(images.shape)
    for name, shape in expected.items():
        value = getattr(prediction, name)
        if not isinstance(value, Tensor) or tuple(value.shape) != shape:
            found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise CheckFailed(f"{name} must have the shape {shape}, it has {found}")
        if value.dtype != torch.float32:
            raise CheckFailed(f"{name} must be float32, it is {str(value.dtype).removeprefix('torch.')}")
        if not torch.isfinite(value).all():
            raise CheckFailed(f"{name} has values that are not finite (NaN or infinity)")
        if value.requires_grad:
            raise CheckFailed(f"{name} carries gradients; put predict under torch.no_grad()")


def _equal(first: Prediction, second: Prediction, tolerance: float, sentence: str) -> None:
    for name in ("score", "anomaly_map"):
        a, b = getattr(first, name), getattr(second, name)
        if a.shape != b.shape:
            raise CheckFailed(f"{sentence} ({name}: shapes {tuple(a.shape)} and {tuple(b.shape)})")
        difference = float((a.cpu() - b.cpu()).abs().max())
        if not difference <= tolerance * max(float(a.abs().max()), 1e-12):
            raise CheckFailed(f"{sentence} ({name}: up to {difference:.2g} of {float(a.abs().max()):.2g})")


def _joined(predictions: list[Prediction]) -> Prediction:
    maps = torch.cat([prediction.anomaly_map for prediction in predictions])
    return Prediction(maps, torch.cat([prediction.score for prediction in predictions]))
