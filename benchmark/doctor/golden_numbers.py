"""What this device computes of DiAD and UniAD, against numbers that the authors' own code gave on a CPU.

``golden_numbers.npz`` (0.3 MB) is cut from the tests' golden files by ``tests/golden/cut.py``: inputs and outputs of
small networks whose weights follow from their names by a rule, so that no weights are shipped.
"""

from __future__ import annotations

import importlib.resources
import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diadbench.benchmark.doctor.finding import Finding
from diadbench.common.processes.tf32 import full_float32
from diadbench.common.wording import counted

if TYPE_CHECKING:
    from torch import Tensor

    from diadbench.methods.diad import DiADModel
    from diadbench.methods.uniad import UniADHead

#: Largest difference from the authors' number, as a share of the largest number of its kind, in float32 without TF32.
TOLERANCE = {"cpu": 2e-5, "cuda": 2e-4, "mps": 1e-3}
#: Ten steps of diffusion in a row carry the differences of all of them.
CHAIN = 5.0
#: Gets a name and what the device has computed; a test returns something else.
Through = Callable[[str, "Tensor"], "Tensor"]


def look_at_numbers(device: str, through: Through = lambda name, found: found) -> list[Finding]:
    """Compute the golden numbers of both methods on a device.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        through: What becomes of each result before it is compared.
    """
    return [
        _told("DiAD", device, _diad(device), through),
        _told("UniAD", device, _uniad(device), through),
    ]


Results = Iterator[tuple[str, "Tensor", "np.ndarray[Any, Any]", float]]


def _told(method: str, device: str, results: Results, through: Through) -> Finding:
    most = TOLERANCE.get(device.partition(":")[0], max(TOLERANCE.values()))
    shares: dict[str, float] = {}
    allowed: dict[str, float] = {}
    try:
        for name, found, expected, factor in results:
            shares[name] = _share(through(name, found), expected)
            allowed[name] = most * factor
    except (RuntimeError, NotImplementedError) as error:  # what a device can't do is told by torch in these
        told = " ".join(str(error).split())[:200]
        return Finding("numbers", method, "fail", f"failed on {device}: {told}", "device=cpu runs")
    wrong = {name: share for name, share in shares.items() if not share <= allowed[name]}
    values = {"device": device, "differences": shares, "tolerances": allowed}
    if not wrong:
        worst = max(shares, key=lambda name: shares[name] / allowed[name])
        agree = counted(len(shares), "golden number agrees", "golden numbers agree")
        text = f"{agree} on {device}: off by at most {shares[worst]:.1e} ({worst}), "
        return Finding("numbers", method, "ok", f"{text}{allowed[worst]:.0e} is allowed", values=values)
    first = next(iter(wrong))
    text = f"{device} computes other numbers than the authors' code: {', '.join(wrong)}; "
    text += f"{first} is off by {wrong[first]:.1e} of the largest value, {allowed[first]:.0e} is allowed"
    return Finding("numbers", method, "fail", text, "trust no figure of this device; device=cpu runs", values)


def _share(found: Tensor, expected: np.ndarray[Any, Any]) -> float:
    """Return the largest difference as a share of the largest expected value; NaN where a value is none."""
    got = found.detach().cpu().double().numpy()
    if got.shape != expected.shape:
        return float("nan")
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def _golden() -> Mapping[str, Any]:
    data = (importlib.resources.files("diadbench.benchmark.doctor") / "golden_numbers.npz").read_bytes()
    found: Mapping[str, Any] = np.load(io.BytesIO(data))
    return found


def _drawn(name: str, shape: Sequence[int]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(tuple(shape), dtype=np.float32)


# -- DiAD -----------------------------------------------------------------------------------------------------------


def diad_weight(key: str, shape: Sequence[int]) -> Tensor:
    """Return a tensor of the authors' layout, drawn by its name."""
    import torch

    drawn = _drawn(key, shape)
    if len(shape) >= 2:
        gain = 1.7 if ".input_hint_block." in key else 1.0
        drawn = drawn * np.float32(gain / np.sqrt(np.prod(shape[1:])))
    elif key.endswith(".weight"):
        drawn = 1 + np.float32(0.1) * drawn
    else:
        drawn = np.float32(0.02) * drawn
    return torch.from_numpy(np.asarray(drawn, dtype=np.float32))


def _diad_model(text: Tensor) -> DiADModel:
    import torch

    from diadbench.methods import diad
    from diadbench.methods.diad.names import to_official

    config = diad.of_width(32, context=64, vae_width=32)
    with torch.device("meta"):
        layout = to_official(diad.DiADModel(config).state_dict(), config)
    return diad.load_official({key: diad_weight(key, value.shape) for key, value in layout.items()}, text=text)


def _diad(device: str) -> Results:
    """Yield name, result, expected result and factor of the tolerance for each stage of DiAD."""
    import torch

    from diadbench.methods import diad

    golden = _golden()
    data = {key.removeprefix("diad."): value for key, value in golden.items() if key.startswith("diad.")}
    given = {key: torch.from_numpy(value).to(device) for key, value in data.items()}
    model = _diad_model(torch.from_numpy(data["text"])).to(device)
    at = torch.full((1,), 999, device=device)
    with torch.no_grad(), full_float32():
        mean, logvar = model.encode(given["image"])
        yield "encoded mean", mean, data["vae_mean"], 1.0
        z = model.sample_latent(mean, logvar, given["posterior_noise"])
        yield "latent", z, data["z"], 1.0
        hint = model.encode_hint(given["image"])
        yield "hint", hint, data["hint_feat"], 1.0
        yield "noise estimate", model.eps(given["xt_999"], at, hint), data["eps_999"], 1.0
        steps = list(diad.walk(given["xt_999"], lambda x, t: model.eps(x, t, hint)))
        yield "ten steps", steps[-1].x, data["end"], CHAIN
        yield "reconstruction", model.decode(steps[-1].x)[..., ::4, ::4], data["samples"], CHAIN


# -- UniAD ----------------------------------------------------------------------------------------------------------


def uniad_weight(name: str, shape: Sequence[int]) -> Tensor:
    """Return a tensor of the authors' head, drawn by its name."""
    import torch

    r, leaf = _drawn(name, shape), name.rsplit(".", 1)[-1]
    if leaf in ("bias", "in_proj_bias"):
        return torch.from_numpy(r * np.float32(0.02))
    if "norm" in name.split(".")[-2]:
        return torch.from_numpy(1 + r * np.float32(0.1))
    if "embed" in name:
        return torch.from_numpy(r * np.float32(0.5))
    return torch.from_numpy((r * np.float32(1 / np.sqrt(shape[-1]))).astype(np.float32))


def _head(config: Mapping[str, Any]) -> UniADHead:
    from diadbench.methods.uniad import HeadConfig, UniADHead, load_head

    head = UniADHead(HeadConfig(**{key: config[key] for key in HeadConfig.__dataclass_fields__})).eval()
    load_head(head, {key: uniad_weight(key, value.shape) for key, value in head.state_dict().items()})
    return head


def _uniad(device: str) -> Results:
    """Yield name, result, expected result and factor of the tolerance for each stage of UniAD."""
    import torch

    from diadbench.methods.uniad import feature_loss, score_map

    golden = _golden()
    data = {key.removeprefix("uniad."): value for key, value in golden.items() if key.startswith("uniad.")}
    config = json.loads(bytes(data["config"]).decode())
    features = torch.from_numpy(data["feature_align"]).to(device)
    head = _head(config).to(device)
    with full_float32():
        out = head(features)
        yield "encoder", out.encoder_out, data["encoder_out"], 1.0
        yield "decoder", out.decoder_out, data["decoder_out"], 1.0
        yield "features", out.feature_rec, data["feature_rec"], 1.0
        yield "map", score_map(out.feature_rec, features, config["instride"])[..., ::4, ::4], data["pred"], 1.0
        loss = feature_loss(out.feature_rec, features)
        yield "loss", loss, data["loss"], 1.0
        loss.backward()  # type: ignore[no-untyped-call]
        norms = [parameter.grad.norm() for parameter in head.parameters() if parameter.grad is not None]
        yield "gradient", torch.stack(norms).norm(), data["total_grad_norm"], CHAIN
