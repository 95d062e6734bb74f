"""How cells are trained: recipes, and the runtime, which changes no result."""

from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from clce_bench.components.optimizers import arguments_of, known_optimizer, optimizers
from clce_bench.errors import unknown
from clce_bench.experiment.strict_model import Probability, StrictModel

_RAND = r"rand(-(m|n|mmax|inc)[0-9]+|-(p|mstd)[0-9]+([.][0-9]+)?|-tweights)*"
POLICY = rf"^({_RAND}|(original|originalr|v0|v0r|3a)(-mstd[0-9]+([.][0-9]+)?)?|cifar10)?$"
"""What ``auto_augment`` may say."""


class Augmentation(StrictModel):
    """Random changes to an image, in this order; the defaults change nothing."""

    replaced_keys = frozenset({"preset"})

    crop_scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Smallest area of a random resized crop, as a share of the image."""
    crop_padding: Annotated[int, Field(ge=0, le=64)] = 0
    """Black pixels around the image before a crop of its own size, as is usual on CIFAR; 0 moves nothing."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Largest rotation, in degrees."""
    flip: Probability = 0.0
    """Probability of a horizontal flip."""
    auto_augment: Annotated[str, Field(pattern=POLICY)] = ""
    """timm's name of a policy: ``rand-m9-mstd0.5-inc1`` for RandAugment, ``original`` or ``v0`` for AutoAugment's for
    ImageNet, ``3a`` for that of DeiT III; ``cifar10`` for torchvision's AutoAugment of that name; none when empty."""
    color_jitter: Probability = 0.0
    """Strength of brightness, contrast and saturation changes."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Strength of hue changes."""
    color_jitter_probability: Probability = 1.0
    """Probability of the changes of colour."""
    grayscale: Probability = 0.0
    """Probability of dropping the colours."""
    erasing: Probability = 0.0
    """Probability of noise instead of a rectangle (timm's random erasing, one rectangle of random pixels)."""
    backend: Literal["pil", "tensor"] = "pil"
    """Whether images are changed one by one with Pillow, or whole batches as tensors, on the device that trains. The
    same changes are drawn, and the pixels differ a little; ``tensor`` has no ``auto_augment`` and no ``erasing``."""

    @property
    def label(self) -> str:
        """Its name, or else what it changes; and how, unless as usual."""
        own = self.model_copy(update={"backend": "pil"})
        names = (name for name, known in _augmentations().items() if known == own)
        changes = ", ".join(f"{key} {value}" for key, value in own.model_dump(exclude_defaults=True).items())
        return next(names, changes or "none") + (f" ({self.backend})" if self.backend != "pil" else "")

    @model_validator(mode="after")
    def _batched(self) -> "Augmentation":
        for key, value, none in (("auto_augment", self.auto_augment, "''"), ("erasing", self.erasing, 0)):
            if value and self.backend == "tensor":
                reason = "it changes images one by one"
                allowed = f"Allowed: {none}, or backend: pil"
                raise ValueError(f"{key}: {value!r} is not allowed with backend: tensor: {reason}. {allowed}.")
        return self

    @model_serializer(mode="wrap")
    def _without_usual_backend(self, values: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Writes what cells have said since before there was a choice."""
        return {key: value for key, value in values(self).items() if (key, value) != ("backend", "pil")}


def expand_augmentation(values: Any) -> Any:
    """Replaces the name of an augmentation, alone or as the key ``preset``, by its values; other keys win over them.

    Raises:
        ValueError: there is no such augmentation.
    """
    own = {"preset": values} if isinstance(values, str) else values
    if not isinstance(own, dict) or "preset" not in own:
        return values
    name, known = own["preset"], named("augmentations")
    if not isinstance(name, str) or name not in known:
        raise ValueError(unknown("an augmentation", str(name), known, f"Augmentations: {', '.join(sorted(known))}"))
    return {**known[name], **{key: value for key, value in own.items() if key != "preset"}}


NamedAugmentation = Annotated[Augmentation, BeforeValidator(expand_augmentation)]
"""What may change, or the name of an entry of ``data_files/augmentations.yaml``."""


class Sampler(StrictModel):
    """Batches by class: so many classes, drawn for each batch, and so many images of each."""

    classes: Annotated[int, Field(ge=2)]
    """Classes per batch."""
    images: Annotated[int, Field(ge=2)]
    """Images per class."""


class Head(StrictModel):
    """The projection head: linear layers, with normalisation and activation after all but the last."""

    layers: Annotated[int, Field(ge=1, le=8)] = 2
    """Linear layers."""
    width: Annotated[int, Field(ge=2)] | None = None
    """Width of the hidden ones; that of the features when not given."""
    norm: Literal["none", "batch", "layer"] = "none"
    """Normalisation after each hidden layer; batch normalisation takes the statistics of the batch."""
    activation: Literal["relu", "gelu", "silu"] = "relu"
    """After each hidden layer."""

    def widths(self, features: int) -> list[int]:
        """Lists how wide each layer's input is."""
        return [features, *[self.width or features] * (self.layers - 1)]


class _OptimizerNames:
    """Lets editors complete the names of optimisers."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {**handler(schema), "enum": sorted(optimizers())}


class Recipe(StrictModel):
    """How a cell is trained."""

    replaced_keys = frozenset({"preset"})

    epochs: Annotated[int, Field(ge=1)] | None = 12
    """Passes over the training images; or give ``steps``."""
    steps: Annotated[int, Field(ge=1)] | None = None
    """Steps, whatever the batch size; instead of ``epochs``."""
    sampler: Sampler | None = None
    """Batches by class; without it batches are drawn at random. ``batch_size`` is classes × images."""
    optimizer: Annotated[str, AfterValidator(known_optimizer), _OptimizerNames()] = "adamw"
    """timm's name of an optimiser, such as ``adamw``, ``sgd``, ``lars``, ``lamb``, ``muon`` or ``adopt``; ``sgd`` has
    plain momentum."""
    optimizer_options: dict[str, Any] = {}
    """Arguments of the optimiser beyond rate, weight decay and momentum, such as ``{betas: [0.9, 0.95]}``."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """The peak of the learning rate, at ``reference_batch_size``."""
    reference_batch_size: Annotated[int, Field(ge=1)] = 64
    """The batch size for which ``learning_rate`` is meant."""
    learning_rate_scaling: Literal["none", "sqrt", "linear"] = "sqrt"
    """How the learning rate follows the batch size."""
    warmup: Probability = 0.1
    """Share of the steps in which the learning rate rises; then it falls along a cosine."""
    warmup_learning_rate: Annotated[float, Field(ge=0)] = 0.0
    """The learning rate at the first step."""
    minimum_learning_rate: Annotated[float, Field(ge=0)] = 0.0
    """The learning rate at the last step."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of optimisers that have one, such as sgd and lars."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """Weight decay of matrices and filters; biases, norms and what the backbone exempts do not decay."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor of the learning rate from each layer of the backbone to the one before."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest rate of stochastic depth in the backbone."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability that cross-entropy spreads evenly over all classes."""
    mixup: Annotated[float, Field(ge=0)] = 0.0
    """α of mixup; 0 mixes nothing. Cross-entropy alone (λ = 0) only, as is ``cutmix``."""
    cutmix: Annotated[float, Field(ge=0)] = 0.0
    """α of cutmix; 0 cuts nothing."""
    clip_gradient: Annotated[float, Field(ge=0)] = 0.0
    """Largest norm of the gradient; 0 clips nothing."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the moving average of the weights, which is then evaluated; 0 averages nothing."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the network's arithmetic (autocast); losses are computed in float32."""
    views: Annotated[int, Field(ge=1)] = 2
    """Augmented views per image in a batch; cross-entropy sees all of them too."""
    augmentation: NamedAugmentation | None = None
    """Instead of the data set's own."""
    projection_size: Annotated[int, Field(ge=2)] = 128
    """Width of the embeddings that the contrastive loss compares."""
    head: Head | None = None
    """The projection head from features to embeddings; two layers with a ReLU between them when not given."""
    classifier: Literal["linear", "cosine"] = "linear"
    """A linear classifier, or a learnt scale times cosines to a vector per class."""
    batch_norm: Literal["frozen", "batch"] = "frozen"
    """Whether batch normalisation keeps the pre-trained statistics or uses those of the batch."""

    @property
    def unused(self) -> set[str]:
        """What has done its part once a cell is made, what its optimiser does not have, what is not given."""
        absent = [name for name in ("epochs", "steps", "sampler", "head") if getattr(self, name) is None]
        usual = {
            "momentum": "momentum" not in arguments_of(self.optimizer),
            "optimizer_options": not self.optimizer_options,
            "classifier": self.classifier == "linear",
        }
        return {"augmentation", *absent, *(name for name, unused in usual.items() if unused)}

    @property
    def projection(self) -> Head:
        """The projection head, given or not."""
        return self.head or Head()

    @field_validator("head")
    @classmethod
    def _usual_head(cls, head: Head | None) -> Head | None:
        return None if head == Head() else head

    @model_validator(mode="before")
    @classmethod
    def _one_length(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("steps") is not None:
            if values.get("epochs") is not None:
                raise ValueError("epochs and steps cannot both be given: each says how long to train.")
            values = {**values, "epochs": None}
        elif isinstance(values, dict) and values.get("epochs", 0) is None:
            raise ValueError("epochs: give a number, or steps.")
        return values

    def step_count(self, per_epoch: int) -> int:
        """Returns the steps of a training run whose epochs have ``per_epoch``."""
        return self.steps or per_epoch * (self.epochs or 0)


class Runtime(StrictModel):
    """How jobs run. Nothing here is part of a cell."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where networks run; ``auto`` takes a GPU when there is one."""
    processes: Annotated[int, Field(ge=1)] = 1
    """Processes, one GPU each, that train a cell together."""
    micro_batch: Annotated[int, Field(ge=1)] | Literal["auto"] | None = None
    """Rows that the network sees at once, with exact gradients; ``auto`` finds what fits. All when not given."""
    gradient_checkpointing: bool = False
    """Compute the backbone's activations again in the backward pass instead of keeping them."""
    compile: bool = False
    """Compile the network with torch.compile."""
    workers: Annotated[int, Field(ge=0)] | None = None
    """Processes that load images; all cores beside a GPU, none on a CPU when not given."""
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 60.0
    """Least time between two checkpoints of a training run, from which a killed one continues."""


@cache
def _augmentations() -> dict[str, Augmentation]:
    return {name: Augmentation(**values) for name, values in named("augmentations").items()}


@cache
def named(kind: Literal["recipes", "augmentations"]) -> dict[str, dict[str, Any]]:
    """Reads the named recipes or augmentations, ``data_files/KIND.yaml``: values by key."""
    text = (files("clce_bench") / "data_files" / f"{kind}.yaml").read_text(encoding="utf-8")
    entries: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return entries
