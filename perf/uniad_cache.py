"""UniAD's training step with and without the feature cache, in turn, in one process on one CPU thread.

Without the cache a step gets its images and runs the frozen backbone. Once as the authors do: image files are decoded
and resized at every step, and the backbone runs to its end though its last two stages are never used. Once with those
stages dropped. And once more from the decoded-image cache that this program keeps anyway. With the cache a step reads
half-precision features. The head's training is the same in all four. Prints CPU seconds a step (median), the ratios,
and what half precision does to the target. Files are of MVTec-AD's most frequent size.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diadbench.methods.authoring.small_data import SmallData
from diadbench.methods.features.backbones import load_backbone
from diadbench.methods.features.feature_cache import build_cache
from diadbench.methods.uniad import HeadConfig, UniADHead, align, feature_loss, use_official_padding
from diadbench.methods.uniad.official import drop_unused_stages


def write_images(directory: Path, count: int, side: int) -> list[Path]:
    """Write PNG files of smooth colour fields with a camera's noise."""
    generator = np.random.default_rng(0)
    files = [directory / f"{i}.png" for i in range(count)]
    for path in files:
        coarse = Image.fromarray(generator.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32)
        noisy = smooth + generator.normal(0, 3, smooth.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)
    return files


def decoded(path: Path, side: int) -> Tensor:
    """Return a file's image at a size, ``uint8 (3,side,side)``."""
    with Image.open(path) as image:
        small = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=224, help="image side in pixels")
    parser.add_argument("--batch", type=int, default=8, help="images a step")
    parser.add_argument("--steps", type=int, default=5, help="steps of each side")
    parser.add_argument("--native", type=int, default=1024, help="image side in the files, in pixels")
    parser.add_argument("--backbone", default="tf_efficientnet_b4", help="timm's name; weights are random here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)

    backbone = load_backbone(options.backbone, weights="random", out_indices=(0, 1, 2, 3))
    drop_unused_stages(backbone.network)
    if options.backbone.startswith("tf_efficientnet_b"):
        use_official_padding(backbone.network, options.backbone)
    whole = load_backbone(options.backbone, weights="random", out_indices=(0, 1, 2, 3, 4))
    size = (options.size // 16, options.size // 16)
    head = UniADHead(HeadConfig(inplanes=sum(backbone.channels), feature_size=size)).train()
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-4, weight_decay=1e-4)

    def extract(images: Tensor) -> Tensor:
        with torch.no_grad():
            return align(backbone(images), backbone.strides)

    def extract_whole(images: Tensor) -> Tensor:
        with torch.no_grad():
            return align(whole(images)[:4], whole.strides[:4])

    def step(features: Tensor) -> None:
        optimizer.zero_grad()
        feature_loss(head(features).feature_rec, features).backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 0.1)
        optimizer.step()

    with tempfile.TemporaryDirectory() as directory:
        files = write_images(Path(directory), 2 * options.batch, options.native)
        stored = torch.stack([decoded(path, options.size) for path in files])
        data = SmallData(stored.float() / 255, torch.zeros(len(files), dtype=torch.int64), ["one"])

        def from_files() -> Tensor:
            return torch.stack([decoded(path, options.size) for path in files[: options.batch]]).float() / 255

        place = Path(directory, "cache", "features")
        cache = build_cache(extract, data, place, torch.device("cpu"), batch_size=options.batch, digest=backbone.digest)
        chosen = torch.arange(options.batch)
        sides: dict[str, Callable[[], None]] = {
            "as the authors do": lambda: step(extract_whole(from_files())),
            "from image files": lambda: step(extract(from_files())),
            "from decoded images": lambda: step(extract(stored[chosen].float() / 255)),
            "from the feature cache": lambda: step(cache.read(chosen)),
        }
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for turn in range(options.steps + 1):
            for name, run in sides.items():
                start = time.process_time()
                run()
                if turn:  # the first turn warms up
                    seconds[name].append(time.process_time() - start)
        exact = extract(data.images(chosen))
        error = cache.error(exact, chosen)
        head.eval()
        with torch.no_grad():
            losses = [feature_loss(head(x).feature_rec, x).item() for x in (exact, cache.read(chosen))]
        each = cache.array[0].nbytes / 1024

    median = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{options.backbone}, {options.size} px, batch {options.batch}, one CPU thread")
    best = median["from the feature cache"]
    for name, value in median.items():
        print(f"  {name:22} {value:7.3f} CPU s a step, {value / best:5.2f} times the cache's")
    print(f"  cache                  {each:7.1f} KiB an image")
    print(f"  half precision: relative error of the target {error:.1e}, loss {losses[0]:.6f} against {losses[1]:.6f}")


if __name__ == "__main__":
    main()
