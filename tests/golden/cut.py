"""Cut the few golden numbers that the distribution ships, for ``diadbench doctor``, from the tests' golden files.

::

    python tests/golden/cut.py      # writes benchmark/doctor/golden_numbers.npz
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
OUT = HERE.parents[1] / "benchmark" / "doctor" / "golden_numbers.npz"
#: Of the first image of two.
DIAD = ("image", "posterior_noise", "vae_mean", "z", "hint_feat", "xt_999", "eps_999")
UNIAD = ("feature_align", "encoder_out", "decoder_out", "feature_rec", "loss")


def cut() -> dict[str, np.ndarray[Any, Any]]:
    with np.load(HERE / "diad" / "data.npz") as data:
        found = {f"diad.{name}": data[name][:1] for name in DIAD}
        found |= {"diad.text": data["text"], "diad.end": data["ddim_traj"][-1, :1]}
        found["diad.samples"] = data["samples"][:1, :, ::4, ::4]
    with np.load(HERE / "uniad" / "io.npz") as data:
        found |= {f"uniad.{name}": data[name] for name in UNIAD}
        found["uniad.pred"] = data["pred"][..., ::4, ::4]
    meta = json.loads((HERE / "uniad" / "meta.json").read_text(encoding="utf-8"))
    found["uniad.total_grad_norm"] = np.array(meta["total_grad_norm"])
    found["uniad.config"] = np.frombuffer(json.dumps(meta["config"]).encode(), np.uint8)
    return found


if __name__ == "__main__":
    np.savez_compressed(OUT, **cut())  # type: ignore[arg-type]
    print(f"{OUT}: {OUT.stat().st_size:,} bytes")
