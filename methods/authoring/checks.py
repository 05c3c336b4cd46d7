"""The requirements of every method, one function each; CheckFailed says in a sentence what is wrong."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from diadbench.methods.authoring.bench import Bench, CheckFailed
from diadbench.methods.base import Method, Prediction
from diadbench.methods.info import MethodInfo

#: Relative differences below this are rounding (libraries compute other batch sizes in other ways).
ROUNDING = 2e-3
#: Tolerance for the same computation done twice.
SAME = 1e-5


def _interface(bench: Bench) -> None:
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


def _many_classes(bench: Bench) -> None:
    bench.method, data = bench.fitted(2)
    data.nobody_peeked(CheckFailed)


def _shapes(bench: Bench) -> None:
    method, prediction = bench.shared()
    _well_formed(prediction, bench.images)
    given = bench.given(bench.images)
    method.predict(given)
    if not torch.equal(given.cpu(), bench.images):
        raise CheckFailed("predict changes the images that it is given; work on a copy")


def _one_class(bench: Bench) -> None:
    method, _ = bench.fitted(1)
    images = bench.images[:4]
    _well_formed(method.predict(bench.given(images)), images)


def _same_seed(bench: Bench) -> None:
    _, first = bench.shared()
    again, _ = bench.fitted(2)
    found = again.predict(bench.given(bench.images))
    _equal(first, found, SAME, "two fits with the same seed give different predictions")


def _repeat(bench: Bench) -> None:
    method, first = bench.shared()
    torch.manual_seed(12345)  # A prediction must not depend on earlier random draws.
    found = method.predict(bench.given(bench.images))
    _equal(first, found, SAME, "predict gives another result the second time, for the same images")


def _batch_size(bench: Bench) -> None:
    method, first = bench.shared()
    single = _joined([method.predict(bench.given(image[None])) for image in bench.images])
    _equal(first, single, ROUNDING, "the result depends on the batch: images one by one give other predictions")


def _order(bench: Bench) -> None:
    method, first = bench.shared()
    order = torch.tensor([5, 2, 7, 0, 3, 6, 1, 4])
    found = method.predict(bench.given(bench.images[order]))
    back = torch.argsort(order).to(found.score.device)
    sorted_back = Prediction(found.anomaly_map[back], found.score[back])
    _equal(first, sorted_back, ROUNDING, "the order of the images changes their predictions")


def _reloaded(bench: Bench, method: Method) -> Prediction:
    """Return the prediction of a new object of the method that has read what this one saved."""
    with bench.settings() as run, tempfile.TemporaryDirectory(prefix="diadbench-check-") as directory:
        method.save(Path(directory))
        if not any(Path(directory).iterdir()):
            raise CheckFailed("save writes nothing into its directory")
        again = bench.cls(**bench.options)
        again.load(Path(directory), run)
        return again.predict(bench.given(bench.images))


def _kept(bench: Bench) -> None:
    method, first = bench.shared()
    found = _reloaded(bench, method)
    _equal(first, found, SAME, "after save and load the predictions differ: something that predict needs is not saved")


# -- what a GPU adds ------------------------------------------------------------------------------------------------


def _on_the_device(bench: Bench) -> None:
    _, first = bench.shared()
    for name in ("anomaly_map", "score"):
        found = getattr(first, name).device.type
        if found != bench.device.type:
            raise CheckFailed(f"{name} is on {found}, though the images and the run are on {bench.device.type}")


def _cpu_images(bench: Bench) -> None:
    method, first = bench.shared()
    found = method.predict(bench.images.clone())
    _equal(first, found, SAME, "images that lie on the CPU give other predictions than the same images on the GPU")


def _as_on_the_cpu(bench: Bench) -> None:
    cpu = torch.device("cpu")
    method, _ = bench.fitted(2, device=cpu)
    expected = method.predict(bench.images.clone())
    found = _reloaded(bench, method)
    _equal(expected, found, ROUNDING, "a model that was fitted on the CPU predicts otherwise on the GPU")


def _same_bits(bench: Bench) -> None:
    _, first = bench.shared()
    again, _ = bench.fitted(2)
    found = again.predict(bench.given(bench.images))
    _equal(first, found, 0.0, "two fits with the same seed differ on the GPU: an operation is not deterministic there")


#: The checks by name, in their order.
CHECKS: dict[str, Callable[[Bench], None]] = {
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
#: Checks that a GPU adds.
GPU_CHECKS: dict[str, Callable[[Bench], None]] = {
    "results on the device": _on_the_device,
    "images of the CPU": _cpu_images,
    "as on the CPU": _as_on_the_cpu,
    "same bits twice": _same_bits,
}


# -- comparing ------------------------------------------------------------------------------------------------------


def _well_formed(prediction: Prediction, images: Tensor) -> None:
    count, _, height, width = images.shape
    expected = {"anomaly_map": (count, height, width), "score": (count,)}
    if not isinstance(prediction, Prediction):
        raise CheckFailed(f"predict must return a Prediction, it returns {type(prediction).__name__}")
    if prediction.reconstruction is not None:
        expected["reconstruction"] = tuple(images.shape)
    for name, shape in expected.items():
        value = getattr(prediction, name)
        if not isinstance(value, Tensor):
            raise CheckFailed(f"{name} must be a tensor of the shape {shape}, it is {type(value).__name__}")
        if tuple(value.shape) != shape:
            found = tuple(value.shape)
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
