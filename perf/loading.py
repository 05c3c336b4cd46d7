"""Read batches of 32 images at 256x256: from the decoded-image cache, and by decoding 1024x1024 PNGs.

    python perf/loading.py

Both sides run on one thread and in turn, on the same files, and both give the same float32 tensors. What is printed is
the time from the second epoch on (the first one builds the cache), in seconds of the process's CPU and of the clock.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.functional import resize, to_tensor

from diadbench.datasets.decoding.data_module import DataModule
from diadbench.datasets.sets.folder import Folder
from diadbench.datasets.toy.render import ToyOptions, sample


def write_pngs(root: Path, count: int, side: int) -> None:
    """Write toy images, so that the PNGs compress as photographs do; several files share a scene to save time."""
    options = ToyOptions(side, count, 1, 0, (), 0.2, 0)
    scenes = [sample(name, "train", "good", 0, options)[0] for name in ("washer", "weave", "tile", "capsule")]
    for split, number in (("train", count), ("test", 1)):
        folder = root / "thing" / split / "good"
        folder.mkdir(parents=True)
        for i in range(number):
            turned = np.ascontiguousarray(np.roll(scenes[i % 4], 37 * i, axis=1))
            Image.fromarray(turned).save(folder / f"{i:03}.png")


def decode(paths: list[Path], size: int) -> torch.Tensor:
    """What a loader without a cache does for a batch."""
    images = [resize(Image.open(path).convert("RGB"), [size, size], antialias=True) for path in paths]
    return torch.stack([to_tensor(image) for image in images])


def timed(call: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--side", type=int, default=1024, help="side of the PNGs")
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory, "data")
        write_pngs(root, options.batch, options.side)
        dataset = Folder(root)
        data = DataModule(dataset, options.size, cache_dir=Path(directory, "cache"))
        start = time.perf_counter()
        train, _ = data.part(dataset.parts("multi-class")[0])
        print(f"building the cache: {time.perf_counter() - start:.2f} s for {len(dataset.samples)} images, once")
        paths = [root / name for name in dataset.samples["image"] if "/train/" in name]
        times: dict[str, list[tuple[float, float]]] = {"cache": [], "decode": []}
        for _ in range(options.epochs + 1):
            cached, *seconds = timed(lambda: next(train.batches(options.batch)).image)
            times["cache"].append((seconds[0], seconds[1]))
            decoded, *seconds = timed(lambda: decode(paths, options.size))
            times["decode"].append((seconds[0], seconds[1]))
            assert torch.equal(cached, decoded), "the two ways must give the same tensors"
        wall, cpu = ({k: float(np.median([t[i] for t in v[1:]])) for k, v in times.items()} for i in (0, 1))
        print(f"a batch of {options.batch} at {options.size}x{options.size}, median of {options.epochs} epochs")
        for name in times:
            print(f"  {name:7} {1e3 * wall[name]:9.2f} ms wall {1e3 * cpu[name]:9.2f} ms CPU")
        print(f"ratio: {wall['decode'] / wall['cache']:.1f} (wall), {cpu['decode'] / cpu['cache']:.1f} (CPU)")


if __name__ == "__main__":
    main()
