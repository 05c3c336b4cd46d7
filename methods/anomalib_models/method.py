"""A model of anomalib as a method: built by its class, trained on normal images, kept as a state dict."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from diadbench.common.errors import Skip, UserError, unknown_name
from diadbench.methods.anomalib_models.authors_weights import weights_found, weights_notes
from diadbench.methods.anomalib_models.components import model_class, normalise_with, own_folders, parts_around
from diadbench.methods.anomalib_models.departures import departure_notes
from diadbench.methods.anomalib_models.input_size import (
    choose_input,
    cropped_inside,
    input_notes,
    place_of,
    same_at_prediction,
)
from diadbench.methods.anomalib_models.names import batch_notes
from diadbench.methods.anomalib_models.options import enum_values
from diadbench.methods.anomalib_models.place import Place
from diadbench.methods.anomalib_models.reasons import reasons
from diadbench.methods.anomalib_models.running_gaussian import keep_no_embeddings
from diadbench.methods.anomalib_models.untrained import untrained_networks
from diadbench.methods.base import Method, Prediction, RunContext
from diadbench.methods.features.backbone_weights import RANDOM_NOTE, load_backbone_weights
from diadbench.methods.features.hub import hub_access, no_network
from diadbench.methods.features.origin import add
from diadbench.methods.training.budget import check_count, check_minutes

if TYPE_CHECKING:
    from diadbench.datasets.decoding.data import TrainData


#: When the learning rate is scheduled: ``model``: as the model defines (mostly once per epoch), ``step``.
LrInterval = Literal["model", "step"]
#: Options of the bridge itself; all others are the model's.
OWN = (
    inspect.Parameter("weights", inspect.Parameter.KEYWORD_ONLY, default="hub", annotation=str),
    inspect.Parameter("batch_size", inspect.Parameter.KEYWORD_ONLY, default=8, annotation=int),
    inspect.Parameter("max_epochs", inspect.Parameter.KEYWORD_ONLY, default=100, annotation=int),
    inspect.Parameter("max_steps", inspect.Parameter.KEYWORD_ONLY, default=-1, annotation=int),
    inspect.Parameter("crop", inspect.Parameter.KEYWORD_ONLY, default=True, annotation=bool),
    inspect.Parameter("tag", inspect.Parameter.KEYWORD_ONLY, default="", annotation=str),
    inspect.Parameter("lr_interval", inspect.Parameter.KEYWORD_ONLY, default="model", annotation=LrInterval),
    inspect.Parameter("drop_last", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=bool),
    inspect.Parameter("adam_betas", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=list[float] | None),
    inspect.Parameter("adam_eps", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=float | None),
    inspect.Parameter("checkpoint_minutes", inspect.Parameter.KEYWORD_ONLY, default=5.0, annotation=float),
)
#: Those that came later, with the values that change nothing (``MethodInfo.later``).
LATER = (("drop_last", False), ("adam_betas", None), ("adam_eps", None))


class AnomalibMethod(Method):
    """Base of the classes that :func:`~diadbench.methods.anomalib_models.bridge.bridge` makes; not a method by itself.

    Besides the model's own arguments:

    Args:
        weights: Where the weights of timm backbones come from: ``hub`` (anomalib's own way), a file or folder,
            ``package``, or ``random`` (a note says so). All but ``hub`` need a model whose network is timm's.
        batch_size: Training images at a time. Models that keep a memory bank have no use for large ones.
        max_epochs: Passes over the training images; -1: as many as ``max_steps`` needs. Models that say themselves how
            many they need get that.
        max_steps: Stop after so many steps; -1: no limit.
        crop: Keep the centre crop of the model's pre-processor. Its map is put where the crop lies in the image, and
            the border has the image's lowest score. ``false``: the whole image is resized to the crop's size.
        tag: Tag of timm's weights from the hub, for models whose network can't be named with one: ``tv_in1k``.
        lr_interval: ``step``: the learning rate follows its schedule at every step; ``model``: as the model says.
        drop_last: Leave out the smaller last batch of an epoch, unless it is the only one.
        adam_betas: The two decay rates of the model's Adam; ``None``: the model's own.
        adam_eps: What the model's Adam adds to the root of the squared gradients; ``None``: the model's own.
        checkpoint_minutes: Minutes between two checkpoints of a training; 0: before every step. Models that pass once
            over the images write none.
    """

    model_name: ClassVar[str]
    crop: bool = True
    tag: str = ""
    lr_interval: LrInterval = "model"
    drop_last: bool = False
    adam_betas: list[float] | None = None
    adam_eps: float | None = None
    checkpoint_minutes: float = 5.0

    def __init__(self, **options: Any) -> None:
        signature = inspect.signature(type(self))
        unknown = sorted(set(options) - set(signature.parameters))
        if unknown:
            raise unknown_name(f"option of anomalib:{self.model_name}", unknown[0], signature.parameters)
        complete = {name: parameter.default for name, parameter in signature.parameters.items()} | options
        self.weights = str(complete["weights"])
        self.batch_size = int(complete["batch_size"])
        self.max_epochs = int(complete["max_epochs"])
        self.max_steps = int(complete["max_steps"])
        check_count("batch_size", self.batch_size, 1)
        for name in ("max_epochs", "max_steps"):
            if complete[name] != -1:  # Lightning's value for no limit
                check_count(name, complete[name], 1)
        self.crop = bool(complete["crop"])
        self.tag = str(complete["tag"])
        self.lr_interval = complete["lr_interval"]
        self.drop_last = bool(complete["drop_last"])
        self.adam_betas = complete["adam_betas"]
        self.adam_eps = complete["adam_eps"]
        self.checkpoint_minutes = float(complete["checkpoint_minutes"])
        check_minutes("checkpoint_minutes", self.checkpoint_minutes)
        self.options = options
        self._model: Any = None
        self._place: Place | None = None
        self._notes: list[str] = []

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse an unlimited training, a tag with weights that aren't the hub's, and numbers that no Adam takes."""
        if options.get("max_epochs") == -1 and options.get("max_steps") == -1:
            raise UserError("max_epochs and max_steps are both -1, so training would never end; give one of them")
        if options.get("tag") and options.get("weights") != "hub":
            raise UserError(f"tag {options['tag']!r} names weights of the hub, but weights is {options['weights']!r}")
        betas, eps = options.get("adam_betas"), options.get("adam_eps")
        if betas is not None and not (len(betas) == 2 and all(0 <= beta < 1 for beta in betas)):
            raise UserError(f"adam_betas must be two numbers of at least 0 and below 1, found {betas}")
        if eps is not None and not eps > 0:
            raise UserError(f"adam_eps must be above 0, found {eps}")

    # -- the model ------------------------------------------------------------------------------------------

    def _build(self, run: RunContext, *, pretrained: bool = True) -> Any:
        """Build the model. With ``pretrained=False`` all weights will be overwritten, so none are fetched."""
        cls = model_class(self.model_name)
        known = inspect.signature(cls).parameters
        arguments = self._arguments(cls, run, pretrained=pretrained)
        chosen = choose_input(cls, run.image_size, crop=self.crop)
        arguments |= {name: part for name, part in parts_around(chosen.pre_processor).items() if name in known}
        own_weights = self.weights != "hub" or bool(self.tag)
        model = self._untrained(cls, arguments) if own_weights or not pretrained else cls(**arguments)
        if own_weights and (pretrained or self.weights != "hub"):
            self._fill(model, run)
        elif pretrained and arguments.get("pre_trained") is False:
            add(run.notes, [RANDOM_NOTE])
        elif pretrained:
            defaults = {name: parameter.default for name, parameter in known.items()}
            run.extras["weights"] = weights_found(self.model_name, model, defaults | arguments)
            add(run.notes, weights_notes(self.model_name, run.extras["weights"]))
        same_at_prediction(model)
        self._place = place_of(model, run.image_size)
        add(run.notes, input_notes(self.model_name, self._place, chosen.refusal, crop=self.crop))
        add(run.notes, batch_notes(self.model_name))
        add(run.notes, cropped_inside(self.model_name, model, self._place))
        defaults = {name: option.default for name, option in inspect.signature(type(self)).parameters.items()}
        add(run.notes, departure_notes(self.model_name, {**defaults, **vars(self), **self.options}))
        return model

    def _untrained(self, cls: Any, arguments: dict[str, Any]) -> Any:
        """Build the model with initial weights if its network is timm's."""
        with untrained_networks() as made:
            try:
                return cls(**arguments)
            except Exception as error:
                if no_network(error) and not made and (self.weights != "hub" or self.tag):
                    raise self._no_extractor() from error
                raise

    def _no_extractor(self) -> UserError:
        return UserError(
            f"anomalib:{self.model_name}: option weights or tag is given, but this model has no network of timm's to "
            "fill and fetches its weights itself; leave weights at hub and tag empty"
        )

    def _arguments(self, cls: Any, run: RunContext, *, pretrained: bool) -> dict[str, Any]:
        """Return the arguments of the model's class, without its components."""
        known = inspect.signature(cls).parameters
        arguments = {name: value for name, value in self.options.items() if name in known}
        arguments = enum_values(cls, arguments) | own_folders(cls, arguments, run)
        if "batch_size" in known:
            arguments["batch_size"] = self.batch_size
        if "pre_trained" in known and (self.weights != "hub" or self.tag or not pretrained):
            arguments["pre_trained"] = False
        return arguments

    def _fill(self, model: Any, run: RunContext) -> None:
        """Load ``weights`` into every timm feature extractor of the model, and set their normalisation at its input."""
        from anomalib.models.components import TimmFeatureExtractor

        extractors = [part for part in model.modules() if isinstance(part, TimmFeatureExtractor)]
        if not extractors:
            raise self._no_extractor()
        for extractor in extractors:
            name = str(extractor.backbone) + (f".{self.tag}" if self.tag else "")
            mean, std, notes = load_backbone_weights(cast(nn.Module, extractor.feature_extractor), name, self.weights)
            run.extras["weights"] = {str(extractor.backbone): self.tag or self.weights}
            add(run.notes, notes)
            normalise_with(model, mean, std)

    def fit(self, train: TrainData, run: RunContext) -> None:
        """Train the model on the normal images of all classes."""
        self._notes = run.notes
        with reasons(self.model_name, run), hub_access():
            from diadbench.methods.anomalib_models.training_run import train_model

            self._model = self._build(run).to(run.device)
            if self.model_name == "Padim" and run.device.type == "cuda":  # on a CPU, figures are those of before
                keep_no_embeddings(self._model.model)
            train_model(
                self._model,
                train,
                run,
                batch_size=self.batch_size,
                max_epochs=self.max_epochs,
                max_steps=self.max_steps,
                every_step=self.lr_interval == "step",
                drop_last=self.drop_last,
                adam=self._adam(),
                checkpoint_minutes=self.checkpoint_minutes,
            )
            self._model = self._model.to(run.device).eval()

    def _adam(self) -> dict[str, Any]:
        """Return the settings of the optimizer that are not left to the model."""
        betas = None if self.adam_betas is None else tuple(self.adam_betas)
        return {name: value for name, value in (("betas", betas), ("eps", self.adam_eps)) if value is not None}

    @torch.no_grad()
    def predict(self, images: Tensor) -> Prediction:
        """Return the model's raw map and score, with the map at the place of the model's input.

        A model without a map gets its score everywhere. The score is the model's own.
        """
        assert self._model is not None, "fit or load first"
        assert self._place is not None
        parameter = next(self._model.parameters(), None)
        device = images.device if parameter is None else parameter.device
        found = self._model(images.to(device))
        anomaly_map, score = getattr(found, "anomaly_map", None), getattr(found, "pred_score", None)
        size = (images.shape[2], images.shape[3])
        if anomaly_map is None:
            if score is None:
                raise Skip(f"anomalib:{self.model_name}: gives neither a map nor a score for an image")
            add(self._notes, ["no anomaly map from this model: each pixel has the image's score"])
            flat = score.float().reshape(len(images))
            return Prediction(flat[:, None, None].expand(-1, *size).contiguous(), flat)
        place = self._place if self._place.image == size else place_of(self._model, size)
        maps = place.put(anomaly_map.float().reshape(len(images), *anomaly_map.shape[-2:]))
        if score is None:
            add(self._notes, ["no image score from this model: the map's maximum is taken"])
        return Prediction(maps, maps.amax((1, 2)) if score is None else score.float().reshape(len(images)))

    # -- keeping --------------------------------------------------------------------------------------------

    def save(self, directory: Path) -> None:
        """Write the model's state dict."""
        assert self._model is not None, "fit or load first"
        torch.save(self._model.state_dict(), directory / "model.pth")

    def load(self, directory: Path, run: RunContext) -> None:
        """Read the model's state dict, which includes the weights of its backbone."""
        self._notes = run.notes
        with reasons(self.model_name, run), hub_access():
            notes = list(run.notes)
            self._model = self._build(run, pretrained=False)
            state = torch.load(directory / "model.pth", map_location="cpu", weights_only=True)
            self._model.load_state_dict(state, strict=True)
            self._model = self._model.to(run.device).eval()
            run.notes[:] = notes + [note for note in run.notes if note not in notes]

    def parameters_count(self) -> int | None:
        """Return the number of all parameters of the model, including frozen ones."""
        return None if self._model is None else sum(p.numel() for p in self._model.parameters())
