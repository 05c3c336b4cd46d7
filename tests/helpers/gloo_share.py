"""One of two gloo processes: feeds its share of the maps to the torchmetrics classes and saves what it finds.

A script, because a spawned process can't import a test module.
"""

from __future__ import annotations

import sys

import torch

from diadbench.benchmark.metrics import modules


def main(rank: int, rendezvous: str, data: str, out: str) -> None:
    """Gather over both processes and write ``{key: value}`` to ``out``."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    given = torch.load(data, weights_only=True)
    maps, masks = given["maps"], given["masks"]
    share = slice(0, 4) if rank == 0 else slice(4, None)  # 4 and 3 images: shares of unequal size
    found = {}
    for key, name in given["classes"].items():
        metric = getattr(modules, name)()
        pixel = not key.startswith("i_")
        metric.update(
            maps[share] if pixel else maps[share].amax((1, 2)),
            masks[share] if pixel else masks[share].flatten(1).any(1),
        )
        found[key] = float(metric.compute())
    torch.save(found, out)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
