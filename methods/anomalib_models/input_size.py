"""Choose the pre-processor of an anomalib model for images of a grid's size, and the notes on it."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass
from typing import Any

from diadbench.common.errors import UserError
from diadbench.methods.anomalib_models.place import Place, find_place, has_crop, without_crop


@dataclass(frozen=True)
class Input:
    """A pre-processor chosen for a size.

    Attributes:
        pre_processor: anomalib's ``PreProcessor``, or ``None`` if the model makes its own.
        refusal: Why the model's default size is used instead of the grid's; ``""`` if it isn't.
    """

    pre_processor: Any
    refusal: str = ""


def choose_input(cls: Any, size: tuple[int, int], *, crop: bool = True) -> Input:
    """Configure the pre-processor of the model ``cls`` for images of ``size``.

    If the model refuses the size, or its crop would add black borders, the model's default size is used.

    Args:
        cls: Class of the model.
        size: ``(H, W)`` of the images.
        crop: Keep the model's centre crop. ``False``: the whole image is resized to the crop's size.

    Raises:
        UserError: ``crop`` is ``False`` and there is no crop.
    """
    chosen = _configured(cls, size)
    if crop or chosen.pre_processor is None:
        if not crop:
            raise _no_crop(cls)
        return chosen
    from anomalib.pre_processing import PreProcessor

    transform = chosen.pre_processor.transform
    if not has_crop(transform):
        raise _no_crop(cls)
    return Input(PreProcessor(without_crop(transform)), chosen.refusal)


def place_of(model: Any, size: tuple[int, int]) -> Place:
    """Return the place of the input of ``model`` in images of ``size``."""
    return find_place(_transform(getattr(model, "pre_processor", None)), size)


def input_notes(name: str, place: Place, refusal: str, *, crop: bool) -> list[str]:
    """Return the notes that every table must state about a model's input.

    Args:
        name: Name of the model.
        place: Place of its input in the images.
        refusal: As in :class:`Input`.
        crop: ``False``: the model's crop was removed.
    """
    notes: list[str] = []
    spans = (place.rows[1] - place.rows[0], place.columns[1] - place.columns[0])
    resized = tuple(round(own * side / span) for own, side, span in zip(place.size, place.image, spans, strict=True))
    if not crop:
        notes.append(f"{name} without anomalib's crop: the whole image is its input")
    if resized != place.image or refusal:
        padded = f" and padded to {_by(place.size)}" if place.pads else ""
        reason = f" ({refusal})" if refusal else ""
        notes.append(f"{name}: images are resized from {_by(place.image)} to {_by(resized)}{padded}{reason}")
    if place.unseen:
        notes.append(
            f"{name} never looks at {100 * place.unseen:.1f} % of each image, which anomalib crops off; there its map "
            "has the image's lowest score"
        )
    return notes


def cropped_inside(name: str, model: Any, place: Place) -> list[str]:
    """Return a note on the part of its input that a model's network crops after the pre-processor.

    AnomalyDINO crops to multiples of its patches and Patchflow to ``crop_size`` or to patches; both fill the border of
    the map themselves.
    """
    inner = _inner_size(name, getattr(model, "model", None), place.size)
    share = 1.0 - inner[0] * inner[1] / (place.size[0] * place.size[1])
    if share <= 0:
        return []
    border = "-1" if name == "Patchflow" else "that of its own edge"
    return [
        f"{name}'s network crops its input from {_by(place.size)} to {_by(inner)} and never looks at {100 * share:.1f} "
        f"% of it; there its map is {border}"
    ]


def _inner_size(name: str, network: Any, size: tuple[int, int]) -> tuple[int, int]:
    if name == "AnomalyDINO":
        patch = int(getattr(network, "patch_size", 1))
        return size[0] - size[0] % patch, size[1] - size[1] % patch
    crop = getattr(network, "crop_size", None) if name == "Patchflow" else None
    return (int(crop[0]), int(crop[1])) if crop is not None else size


def same_at_prediction(model: Any) -> None:
    """Let the model predict with the transform that it was trained with.

    anomalib's ``forward`` uses a copy of the transform that is meant for export and resizes without antialiasing.
    """
    pre_processor: Any = getattr(model, "pre_processor", None)
    if _transform(pre_processor) is not None:
        pre_processor.export_transform = pre_processor.transform


def _configured(cls: Any, size: tuple[int, int]) -> Input:
    configure = getattr(cls, "configure_pre_processor", None)
    if configure is None or "image_size" not in inspect.signature(configure).parameters:
        return Input(None)
    with warnings.catch_warnings():  # "Image size is not used": a note states the actual size
        warnings.simplefilter("ignore")
        try:
            chosen = configure(image_size=size)
        except ValueError as error:
            return Input(configure(), f"{_by(size)} is refused: {' '.join(str(error).split()).rstrip('.')}")
        if not find_place(_transform(chosen), size).pads:
            return Input(chosen)
        own = configure()
    if find_place(_transform(own), size).pads:
        return Input(chosen)
    return Input(own, f"its crop is larger than {_by(size)}")


def _transform(pre_processor: Any) -> Any:
    return getattr(pre_processor, "transform", None)


def _no_crop(cls: Any) -> UserError:
    return UserError(f"anomalib:{cls.__name__}: option crop is false, but this model crops nothing; leave it out")


def _by(size: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in size)
