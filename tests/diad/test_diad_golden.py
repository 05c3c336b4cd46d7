"""Every stage against the authors' code's own outputs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from diadbench.common.errors import UserError
from diadbench.methods import diad
from diadbench.methods.diad.names import from_official, official_name
from tests.helpers.state_dicts import same

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "diad"
FORWARD, GRADIENT = 2e-5, 1e-4


@pytest.fixture(scope="module")
def model(official: dict[str, Tensor], data: dict[str, Tensor]) -> diad.DiADModel:
    return diad.load_official(official, text=data["text"])


@pytest.fixture(autouse=True)
def no_gradients(request: pytest.FixtureRequest) -> Iterator[None]:
    with torch.set_grad_enabled("gradients" in request.node.name):
        yield


def close(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    error = (found.double() - expected.double()).abs().max() / expected.double().abs().max()
    assert error <= FORWARD, f"off by {error:.1e} of the maximum"


def at(step: int) -> Tensor:
    return torch.full((2,), step)


def test_sizes_are_read_off_the_shapes(model: diad.DiADModel) -> None:
    assert model.config == diad.of_width(32, context=64, vae_width=32)


def test_autoencoder(model: diad.DiADModel, data: dict[str, Tensor]) -> None:
    mean, logvar = model.encode(data["image"])
    close(mean, data["vae_mean"])
    close(logvar, data["vae_logvar"])
    close(model.sample_latent(mean, logvar, data["posterior_noise"]), data["z"])
    close(model.decode(data["z"]), data["decode"])


@pytest.mark.parametrize("step", [999, 500, 1])
def test_noised_latents_and_noise_estimate(model: diad.DiADModel, data: dict[str, Tensor], step: int) -> None:
    close(model.add_noise(data["z"], data["q_noise"], at(step)), data[f"xt_{step}"])
    hint = model.encode_hint(data["image"])
    close(model.eps(data[f"xt_{step}"], at(step), hint), data[f"eps_{step}"])


def test_semantic_guided_network(model: diad.DiADModel, data: dict[str, Tensor]) -> None:
    hint = model.encode_hint(data["image"])
    close(hint, data["hint_feat"])
    text = model.text.expand(2, -1, -1)
    before = model.sg.outputs(model.sg.features(data["xt_999"], at(999), text, hint))
    for i in (9, 10, 11):
        close(before[i], data[f"sg_pre_sff_{i:02d}"])
    outputs = model.control(data["xt_999"], at(999), hint, full=True)
    assert len(outputs) == 13
    for i, output in enumerate(outputs):
        close(output, data[f"sg_{i:02d}"])


def test_only_what_is_used_is_computed(model: diad.DiADModel, data: dict[str, Tensor]) -> None:
    hint = model.encode_hint(data["image"])
    used = model.control(data["xt_999"], at(999), hint)
    assert all(torch.equal(a, b) for a, b in zip(used, model.control(data["xt_999"], at(999), hint, full=True)[-4:]))


def test_without_control_and_with_all_of_it(model: diad.DiADModel, data: dict[str, Tensor]) -> None:
    x, t = data["xt_500"], at(500)
    close(model.noise_of(x, t, None), data["eps_500_nocontrol"])
    every = model.control(x, t, model.encode_hint(data["image"]), full=True)
    close(model.noise_of(x, t, every), data["eps_500_allcontrol"])


def test_ten_steps(model: diad.DiADModel, data: dict[str, Tensor]) -> None:
    hint = model.encode_hint(data["image"])
    steps = list(diad.walk(data["xt_999"], lambda x, t: model.eps(x, t, hint)))
    assert [step.t for step in steps] == data["ddim_timesteps"].tolist()
    close(torch.stack([step.x for step in steps]), data["ddim_traj"])
    close(torch.stack([step.x0 for step in steps]), data["ddim_pred_x0"])
    close(model.decode(steps[-1].x), data["samples"])
    assert (model.unet.config.norm_eps, model.vae.config.norm_num_groups) == (1e-5, 32)


def test_group_norms_have_the_authors_epsilons(model: diad.DiADModel) -> None:
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.GroupNorm):
            transformer = ".attentions." in name and not name.startswith("vae.")
            assert module.eps == (1e-6 if transformer or name.startswith("vae.") else 1e-5), name


def test_guidance_changes_nothing(model: diad.DiADModel, data: dict[str, Tensor]) -> None:
    hint = model.encode_hint(data["image"])
    twice = model.eps(torch.cat([data["xt_999"]] * 2), torch.full((4,), 999), torch.cat([hint] * 2))
    unconditional, conditional = twice.chunk(2)
    close(model.eps(data["xt_999"], at(999), hint), unconditional + 9 * (conditional - unconditional))


def test_anomaly_map_and_score(data: dict[str, Tensor]) -> None:
    inputs, outputs = ([data[f"feat_{side}_{i}"] for i in range(3)] for side in ("in", "out"))
    levels = diad.level_maps(inputs, outputs, (96, 96))
    close(levels[0], data["amap_levels"])
    smoothed = diad.anomaly_map(levels)
    close(smoothed[0], data["amap_gauss"])
    close(diad.image_score(smoothed), data["image_score"])


def test_loss_and_gradients(model: diad.DiADModel, data: dict[str, Tensor]) -> None:
    trained = model.trained_parameters()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
    loss = model.loss(data["z"], data["image"], data["train_noise"], data["train_t"])
    loss.backward()
    close(loss.detach()[None], data["train_loss"])
    facts = json.loads((GOLDEN / "grads.json").read_text())
    largest = max(fact["grad"][0] for fact in facts.values() if fact["grad"] is not None)
    for name, parameter in model.named_parameters():
        expected = facts[official_name(name, model.config)]["grad"]
        if expected is None:
            assert parameter.grad is None, name
        elif expected[0] > 1e-5 * largest:
            assert parameter.grad is not None, name
            assert float(parameter.grad.norm()) == pytest.approx(expected[0], rel=GRADIENT), name
    model.zero_grad(set_to_none=True)


def test_names_are_the_ones_on_record(model: diad.DiADModel) -> None:
    recorded = json.loads((GOLDEN / "diffusers_to_official.json").read_text())
    ours = {key: official_name(key, model.config) for key in model.state_dict() if key != "text"}
    prefixes = {"controlnet.": "sg.control.", "sff.": "sg.sff."}
    renamed = {}
    for key, value in recorded.items():
        start = next((p for p in prefixes if key.startswith(p)), "")
        renamed[prefixes.get(start, "") + key.removeprefix(start)] = value
    assert ours == renamed


def test_there_and_back_bit_for_bit(model: diad.DiADModel, official: dict[str, Tensor]) -> None:
    assert same(diad.official_state(model), official)


def test_every_wrong_key_is_listed(official: dict[str, Tensor]) -> None:
    wrong = dict(official)
    del wrong["control_model.down12.0.weight"]
    wrong["control_model.down99.0.weight"] = torch.zeros(1)
    wrong["model.diffusion_model.out.2.bias"] = torch.zeros(7)
    with pytest.raises(UserError) as error:
        diad.load_official(wrong)
    for part in ("missing control_model.down12.0.weight", "unexpected control_model.down99.0.weight", "misshaped"):
        assert part in str(error.value)


def test_other_widths_and_the_full_one_have_the_authors_layout() -> None:
    for config in (diad.of_width(64, context=96, vae_width=32), diad.SIZES["sd15"]):
        with torch.device("meta"):
            ours = diad.DiADModel(config).state_dict()
            state = {official_name(key, config): value for key, value in ours.items() if key != "text"}
        assert len(state) == 1283
        found, problems = from_official(diad.checkpoints.to_official(ours, config), ours, config)
        assert not problems
        assert found.keys() | {"text"} == ours.keys()
        assert diad.infer(diad.checkpoints.to_official(ours, config)) == config
