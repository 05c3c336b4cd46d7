"""UniAD's training step with and without the feature cache, in turn, in one process on one CPU thread.

Prints CPU seconds a step (median), their ratio, and what half precision does to the target.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from diadbench.methods.backbones import load_backbone
from diadbench.methods.feature_cache import build_cache
from diadbench.methods.small_data import SmallData
from diadbench.methods.uniad import HeadConfig, UniADHead, align, feature_loss, use_official_padding
from diadbench.methods.uniad.official import drop_unused_stages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=224, help="image side in pixels")
    parser.add_argument("--batch", type=int, default=8, help="images a step")
    parser.add_argument("--steps", type=int, default=3, help="steps of each side")
    parser.add_argument("--backbone", default="tf_efficientnet_b4", help="timm's name; weights are random here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)

    backbone = load_backbone(options.backbone, weights="random", out_indices=(0, 1, 2, 3))
    drop_unused_stages(backbone.network)
    if options.backbone.startswith("tf_efficientnet_b"):
        use_official_padding(backbone.network, options.backbone)
    data = SmallData(
        torch.rand(2 * options.batch, 3, options.size, options.size),
        torch.zeros(2 * options.batch, dtype=torch.int64),
        ["one"],
    )
    size = (options.size // 16, options.size // 16)
    head = UniADHead(HeadConfig(inplanes=sum(backbone.channels), feature_size=size)).train()
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-4, weight_decay=1e-4)

    def extract(images: Tensor) -> Tensor:
        with torch.no_grad():
            return align(backbone(images), backbone.strides)

    def step(features: Tensor) -> None:
        optimizer.zero_grad()
        feature_loss(head(features).feature_rec, features).backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 0.1)
        optimizer.step()

    with tempfile.TemporaryDirectory() as directory:
        cache = build_cache(extract, data, Path(directory), batch_size=options.batch, digest=backbone.digest)
        chosen = torch.arange(options.batch)
        sides: dict[str, Callable[[], None]] = {
            "without the cache": lambda: step(extract(data.images(chosen))),
            "from the cache": lambda: step(cache.read(chosen)),
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
        each = cache.path.stat().st_size / len(data) / 1024

    median = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{options.backbone}, {options.size} px, batch {options.batch}, one CPU thread")
    for name, value in median.items():
        print(f"  {name:18} {value:7.3f} CPU s a step")
    ratio = median["without the cache"] / median["from the cache"]
    print(f"  ratio              {ratio:7.2f}")
    print(f"  cache              {each:7.1f} KiB an image")
    print(f"  half precision: relative error of the target {error:.1e}, loss {losses[0]:.6f} against {losses[1]:.6f}")


if __name__ == "__main__":
    main()
