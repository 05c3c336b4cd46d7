"""How long indexing Real-IAD's 151,050 samples takes, and how much memory; on a synthetic data set of that size.

    python perf/indexing.py                 # makes it in a temporary directory (about 210,000 tiny files)
    python perf/indexing.py --root DIR      # keeps it in DIR, or uses the one that is there

Both sides run in the same process, in turn: reading the thirty JSONs alone, and the whole way to the checked table.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from diadbench.common.processes.systems import resident_bytes
from diadbench.datasets import get
from diadbench.datasets.samples import make_sample

try:
    import resource
except ImportError:
    raise SystemExit("benchmarks/indexing.py needs the module resource; Windows lacks it: use WSL 2") from None

SAMPLES = 151_050


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="where the data set is, or is made")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        measure(options.root or Path(temporary) / "realiad", options.repeat)


def measure(root: Path, repeat: int) -> None:
    if not root.is_dir():
        begin = time.perf_counter()
        make_sample("realiad", root, size=8, full=True)
        print(f"made {root} in {time.perf_counter() - begin:.0f} s")
    get("realiad", root, classes=["audiojack"]).samples  # noqa: B018 - imports are not what is measured
    for _ in range(repeat):
        begin = time.process_time()
        files = sorted((root / "realiad_jsons").glob("*.json"))
        read = sum(len(content["train"]) + len(content["test"]) for content in map(load, files))
        jsons, begin = time.process_time() - begin, time.process_time()
        table = get("realiad", root).samples
        whole = time.process_time() - begin
        assert len(table) == read == SAMPLES, (len(table), read)
        peak = resident_bytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1e9
        print(
            f"{len(table):,} samples: table {whole:.2f} CPU s, of which JSONs {jsons:.2f} s "
            f"(ratio {whole / jsons:.1f}); peak memory {peak:.2f} GB"
        )


def load(path: Path) -> dict[str, list[object]]:
    return json.loads(path.read_bytes())


if __name__ == "__main__":
    main()
