"""Open every file of a dataset and report unreadable files, sizes, empty and vanishing masks, and equal files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from diadbench.common.errors import UserError
from diadbench.common.wording import counted
from diadbench.datasets.base import Dataset
from diadbench.datasets.checking.copies import digest_of_pixels
from diadbench.datasets.checking.leaks import check_duplicates as check_duplicates
from diadbench.datasets.checking.mask_findings import MASK_CAUSES, check_signs
from diadbench.datasets.checking.pixel_findings import check_pixels, check_sizes
from diadbench.datasets.decoding.deep_pixels import bits_used, traits_of
from diadbench.datasets.decoding.fingerprint import digest_of
from diadbench.datasets.decoding.images import decode_image, inside, is_union, placed, read_bytes
from diadbench.datasets.decoding.mask_files import read_mask_file
from diadbench.datasets.decoding.masks import RULES, MaskFacts, mask_facts, other_size, resize_mask
from diadbench.datasets.decoding.reading import depth_for
from diadbench.datasets.decoding.workers import Problems, Progress, cores, run_all
from diadbench.datasets.findings import CheckReport

Size = tuple[int, int]
#: An image is told whose greatest value needs this many bits fewer than the depth: below a quarter of the range.
FEWER_BITS = 2


def check_files(
    dataset: Dataset,
    table: pd.DataFrame,
    report: CheckReport,
    size: tuple[int, int],
    progress: Progress | None = None,
    workers: int | None = None,
) -> None:
    """Open every image, mask and scan of the table; add findings to the report.

    Args:
        dataset: The dataset that the paths belong to.
        table: Sample table.
        report: Receives the findings and the numbers of files and of vanished masks.
        size: Evaluation size ``(H, W)``.
        progress: Called while files are opened.
        workers: Threads; ``None`` is one for each core.
    """
    digests: dict[str, str] = {}
    sizes: dict[str, Size] = {}
    mask_sizes: dict[str, Size] = {}
    masks: dict[str, MaskFacts] = {}
    bits: dict[str, int] = {}
    traits: dict[str, str] = {}

    def image(relative: str) -> None:
        path = inside(dataset.root, relative)
        with placed(dataset.place_of, relative):
            content = read_bytes(path)
        bits[relative], traits[relative] = bits_used(content, path), traits_of(content)
        pixels = decode_image(content, path, dataset.reading.bit_depth or 16)
        sizes[relative] = (pixels.shape[0], pixels.shape[1])
        # A copy in another format is a copy; only the depth of 16-bit files is not known here.
        digests[relative] = digest_of(content) if bits[relative] else digest_of_pixels(pixels)

    def mask(relative: str) -> None:
        path = inside(dataset.mask_root, relative)
        with placed(dataset.place_of, relative):
            found = read_mask_file(path, dataset.reading)
        traits[relative] = "" if is_union(path) else traits_of(read_bytes(path))
        mask_sizes[relative] = (found.values.shape[0], found.values.shape[1])
        masks[relative] = mask_facts(found, {rule: resize_mask(found.values, size, rule) for rule in RULES})

    def scan(relative: str) -> None:
        read_scan(inside(dataset.root, relative))

    tasks: list[tuple[Callable[[str], None], str]] = [(image, path) for path in table["image"].unique()]
    if "mask" in table.columns:
        tasks += [(mask, path) for path in table["mask"].unique() if path]
    if "xyz" in table.columns:
        tasks += [(scan, path) for path in table["xyz"].unique() if path]
    problems = Problems()
    run_all(lambda i: tasks[i][0](tasks[i][1]), len(tasks), workers or cores(), problems, progress)
    report.files = len(tasks)
    for message in sorted(problems.messages):
        report.add("error", "file", message, note="")  # A run refuses it.
    if "mask" in table.columns:
        _check_mask_sizes(dataset, table, report, sizes, mask_sizes)
        check_masks(dataset, table, report, masks, size)
    check_depth(dataset, report, Counter(used for used in bits.values() if used))
    check_pixels(dataset, table, report, traits)
    check_sizes(dataset, table, report, sizes)
    check_duplicates(dataset, table, report, digests)


def check_depth(dataset: Dataset, report: CheckReport, bits: Mapping[int, int]) -> None:
    """Add findings if 16-bit images use fewer bits and are scaled accordingly, and if some use far fewer than others.

    Args:
        dataset: The dataset with its option ``bit_depth``.
        report: Receives the findings.
        bits: Number of images by the bits that the greatest value of each needs; only images of 16-bit files.
    """
    if not bits:
        return
    most, asked = max(bits), dataset.reading.bit_depth is not None
    depth = dataset.reading.bit_depth or depth_for(most)
    _check_mixed_depths(report, bits, depth)
    if depth == 16:
        return
    report.add(
        "note",
        "bit-depth",
        f"16-bit images that use {most} bits: {2**depth - 1:,} becomes 255 ({depth} bits)",
        advice="" if asked else "set bit_depth where the camera has another depth",
        note="" if asked else f"16-bit images use {most} bits: scaled as {depth} bits",  # The option is a flag.
    )


def _check_mixed_depths(report: CheckReport, bits: Mapping[int, int], depth: int) -> None:
    """Add a finding if some images lie below a quarter of the range: images of another camera, or dark ones."""
    darker = {used: count for used, count in bits.items() if used <= depth - FEWER_BITS}
    if not darker:
        return
    some = f"{sum(darker.values()):,} of {counted(sum(bits.values()), '16-bit image')}"
    found = f"{some}: at most {max(darker)} bits used, by others {max(bits)}"
    report.add(
        "warning",
        "mixed-depths",
        f"{found}; all are scaled as {depth} bits, and such images become dark",
        advice="scale the images of another camera to the others' range",
        note=f"{found}: scaled as {depth} bits",
    )


def read_scan(path: Path) -> None:
    """Read an xyz scan. Raises UserError unless it has three channels of numbers."""
    import tifffile

    content = read_bytes(path)
    try:
        import io

        shape = tifffile.imread(io.BytesIO(content)).shape
    except Exception as error:  # tifffile raises many kinds of exceptions on a broken file.
        raise UserError(f"{path}: damaged TIFF ({error}); get it again") from error
    if len(shape) != 3 or 3 not in (shape[0], shape[2]):
        raise UserError(f"{path}: shape {shape}; expected three channels x, y, z")


def _check_mask_sizes(
    dataset: Dataset, table: pd.DataFrame, report: CheckReport, images: dict[str, Size], masks: dict[str, Size]
) -> None:
    for image, mask in table[["image", "mask"]].itertuples(index=False):
        if image in images and mask in masks and images[image] != masks[mask]:
            report.add(
                "error",
                "mask-size",
                other_size(masks[mask], images[image]),
                dataset.mask_root / mask,
                "get the pair again",
                note="",  # A run refuses it.
            )


def check_masks(
    dataset: Dataset, table: pd.DataFrame, report: CheckReport, masks: Mapping[str, MaskFacts], size: Size
) -> None:
    """Add findings on empty, vanished, odd and misplaced masks.

    Args:
        dataset: The dataset that the paths belong to.
        table: Sample table.
        report: Gets the findings and the numbers of vanished masks.
        masks: Facts of each mask, by its path in the table.
        size: Evaluation size ``(H, W)``.
    """
    vanished: dict[str, list[str]] = {rule: [] for rule in RULES}
    for mask, label in table[["mask", "label"]].itertuples(index=False):
        facts = masks.get(mask)
        if facts is None:
            continue
        if label == 1 and not facts.positive:
            cut = bool(facts.signs.cut) or dataset.reading.threshold is not None
            report.add(
                "warning",
                "empty-mask",
                "the mask of an anomalous image has no positive pixel" + (" above the threshold" if cut else ""),
                dataset.mask_root / mask,
                ("get it again, or set masks.threshold lower" if cut else "get it again")
                + "; as it is, its pixels count as normal and its image as anomalous, and tables say so",
                note="{n} mask of an anomalous image is empty|{n} masks of anomalous images are empty",
            )
        if label == 0 and facts.positive:
            text = "a mask with anomalous pixels for a normal image"
            text += f"; {MASK_CAUSES[facts.signs.cause].what}" if facts.signs.cause else ""
            report.add("error", "mask-label", text, dataset.mask_root / mask, note="")  # A run refuses it.
        for rule in facts.vanishes:
            vanished[rule].append(mask)
    report.vanished = {rule: len(paths) for rule, paths in vanished.items()}
    _tell_vanished(dataset, report, {rule: paths for rule, paths in vanished.items() if paths}, size)
    check_signs(dataset, table, report, masks)


def _tell_vanished(dataset: Dataset, report: CheckReport, gone: dict[str, list[str]], size: Size) -> None:
    if not gone:
        return
    numbers = ", ".join(f"{len(paths)} by {rule}" for rule, paths in gone.items())
    total = len({path for paths in gone.values() for path in paths})
    report.add(
        "note",
        "vanished-mask",
        f"masks that vanish at {_wide(size)}: {numbers}; the image label stays the dataset's own, "
        "only the protocol `ader` takes the resized mask's",
        dataset.mask_root / next(iter(gone.values()))[0],
        note=counted(total, "mask vanishes", "masks vanish") + f" at {_wide(size)}",
    )


def _wide(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
