"""Differences between anomalib's models and their authors' code, found by reading both; every result states them.

The table in docs/methods.md is generated from this module (``python -m diadbench.methods.anomalib_models.departures``),
and so is the note of each cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: The version of anomalib that was read.
READ_IN = "2.7.0"


@dataclass(frozen=True)
class Departure:
    """One difference between anomalib and the authors' code of a method.

    Attributes:
        what: What anomalib does, as a short text for the cell's note.
        authors: What the authors' code does.
        consequence: Effect on a result.
        mended: Options of the bridge or the model that remove the difference, as ``{name: value}``.
    """

    what: str
    authors: str
    consequence: str
    mended: Mapping[str, Any] | None = None


_EPOCHS = Departure(
    "the learning rate is set once an epoch from a schedule that counts steps",
    "it is set at every step (warm-up of 100 steps, then a cosine)",
    "the first epoch trains at rate 0 and the warm-up lasts 100 epochs, so short trainings never reach the full rate; "
    "the preset mends it by `lr_interval: step`",
    {"lr_interval": "step"},
)
_LAST_BATCH = Departure(
    "the smaller last batch of an epoch is trained on",
    "it is dropped",
    "one step more an epoch where the number of images is no multiple of the batch; the preset mends it by "
    "`drop_last: true`",
    {"drop_last": True},
)
_POSITIONS = Departure(
    "positions of DINOv2 are resized to the grid's size exactly",
    "they are scaled by (grid + 0.1) / 37, as DINOv2 does",
    "features differ slightly (not measured)",
)
_BANK = Departure(
    "one bank for all images, whatever their class",
    "a bank for each class",
    "here multi-class means one model, so patches may match those of other classes",
)

#: Departures by the model's name in anomalib.
DEPARTURES: dict[str, tuple[Departure, ...]] = {
    "Dinomaly": (
        Departure(
            "the map is neither resized to 256 nor blurred",
            "it is resized to 256 and blurred (5x5, sigma 4, zeros around) before the metrics",
            "pixel metrics see a rougher map; the image score does come from the blurred 256 map",
        ),
        Departure(
            "the blur of the image score reflects the border",
            "zeros lie around the map",
            "scores of defects at the crop's border are larger",
        ),
        Departure(
            "StableAdamW has eps 1e-8",
            "1e-10",
            "smaller steps where gradients are tiny (not measured); the preset mends it by `adam_eps: 1.0e-10`",
            {"adam_eps": 1e-10},
        ),
        Departure(
            "the MLPs of bottleneck and decoder have no bias", "they have one", "fewer parameters (not measured)"
        ),
        Departure(
            "with `use_context_recentering` the class token is taken off the patches before the bottleneck",
            "Dinomaly2 takes it off the encoder's targets alone, and normalises these",
            "it is not Dinomaly2's; the preset leaves it off",
            {"use_context_recentering": False},
        ),
        _EPOCHS,
        _LAST_BATCH,
        _POSITIONS,
    ),
    "InpFormer": (
        Departure(
            "the map is blurred at 392 pixels and not resized to 256",
            "it is resized to 256 first, then blurred (5x5, sigma 4)",
            "a blur of the same width in pixels is narrower in the image: 5 of 392 instead of 5 of 256; the protocols "
            "`inp-former` and `dinomaly` blur such a map a second time",
        ),
        Departure(
            "the image score is the mean of the highest 1 % of the 392 map",
            "of the 256 map (655 pixels)",
            "scores differ slightly; the share is the same",
        ),
        Departure("the blur reflects the border", "zeros lie around the map", "the crop's border scores higher"),
        _EPOCHS,
        _LAST_BATCH,
        _POSITIONS,
    ),
    "Rad": (
        Departure(
            "the map is made and blurred at 448 pixels",
            "the patch grid goes straight to 256 and is blurred there (5x5, sigma 1)",
            "the same blur in pixels is narrower in the image; the protocol `dinomaly` blurs such a map a second time, "
            "with its sigma of 4",
        ),
        Departure("the blur reflects the border", "zeros lie around the map", "the crop's border scores higher"),
        Departure(
            "150 images and radius 1 whatever the dataset",
            "MVTec AD 150 and 1, VisA 900 and 2",
            "give `k_image` and `pos_radius` by dataset; the grid `rivals` does",
        ),
    ),
    "AnomalyDINO": (
        _BANK,
        Departure(
            "images are squeezed to a square",
            "the shorter edge is resized to 448 and the aspect kept",
            "objects that aren't square are seen squeezed",
        ),
        Departure(
            "no rotated copies of the references",
            "8 rotations for the object types that may be turned",
            "few-shot scores of turned objects are lower",
        ),
        Departure(
            "the background is not masked unless `masking` says so, then for every class",
            "masked for some object types",
            "more false alarms on cluttered background, or masked textures",
        ),
        Departure(
            "the map is enlarged by nearest neighbour before the blur",
            "resized to the image, then blurred (sigma 4)",
            "steps of 14 pixels under a blur of 4: rougher pixel metrics",
        ),
        Departure(
            "references are drawn by the grid's seed",
            "slices of the sorted file names",
            "figures of few-shot runs are not paired with the published ones",
        ),
    ),
    "FoundAD": (
        Departure(
            "DINOv2 at 518 pixels unless `encoder_name` says otherwise",
            "DINOv3 at 512",
            "other features; anomalib's own figures for few images of MVTec AD are .4 to 1.6 percent below the paper's",
        ),
        Departure(
            "the image score is the mean of the 10 highest patches whatever the dataset",
            "10 for MVTec AD, 6 for VisA",
            "give `top_k` by dataset",
        ),
    ),
    "ReverseDistillation": (
        Departure(
            "Adam has betas 0.5 and 0.99",
            "0.5 and 0.999",
            "shorter memory of squared gradients (not measured); the preset mends it by `adam_betas: [0.5, 0.999]`",
            {"adam_betas": [0.5, 0.999]},
        ),
        Departure(
            "the decoder takes untagged names, so anomalib alone can't load the authors' weights",
            "torchvision's first weights",
            "timm's own choice (racm_in1k) stands in; the preset mends it by `tag: tv_in1k`",
            {"tag": "tv_in1k"},
        ),
        Departure(
            "the blur reflects the border",
            "scipy's gaussian_filter, which reflects it in another way (the edge pixel twice)",
            "pixels at the border differ slightly",
        ),
    ),
    "Supersimplenet": (
        Departure(
            "scores and maps go through a sigmoid",
            "the score too, the map not; both are scaled over the test set by minimum and maximum",
            "the order is the same but where float32 saturates (ties)",
        ),
        Departure(
            "the classification head sees the features before the adaptor",
            "the published code (ICPR'24) feeds it the adapted ones",
            "another model (the journal version); the preset mends it by `adapt_cls_features: true`",
            {"adapt_cls_features": True},
        ),
        Departure(
            "the noise threshold is 0.2 whatever the dataset",
            "MVTec AD 0.2, VisA 0.6",
            "give `perlin_threshold` by dataset; the grid `rivals` does",
        ),
    ),
}


def departure_notes(name: str, options: Mapping[str, Any]) -> list[str]:
    """Return the notes for tables on a model that differs from its authors' code.

    Args:
        name: Name of the anomalib model.
        options: Options of the method, including defaults; differences that they remove are left out.

    Returns:
        One note, or none if no difference is known or left.
    """
    left = [departure for departure in DEPARTURES.get(name, ()) if not _is_mended(departure, options)]
    if not left:
        return []
    told = "; ".join(departure.what for departure in left)
    return [f"{name} is anomalib's, which departs from the authors' code: {told} (docs/methods.md)"]


def _is_mended(departure: Departure, options: Mapping[str, Any]) -> bool:
    wanted = departure.mended or {}
    return bool(wanted) and all(options.get(name) == value for name, value in wanted.items())


def departures_table() -> str:
    """Return the departures as a Markdown table."""
    lines = ["| model | anomalib | authors' code | consequence |", "|-|-|-|-|"]
    for name, found in DEPARTURES.items():
        lines += [f"| `{name}` | {each.what} | {each.authors} | {each.consequence} |" for each in found]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(departures_table(), end="")
