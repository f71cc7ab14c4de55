"""The `train:` section of a run."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from videozoo.errors import counted
from videozoo.settings.mistakes import mistakes_of
from videozoo.types import Settings

Precision = Literal["fp32", "bf16", "fp16"]


class TrainSettings(Settings):
    """How to optimise: length, batch, optimiser, schedule, precision."""

    epochs: int = Field(default=1, ge=1)
    """Passes over the training data."""
    batch_size: int = Field(default=16, ge=1)
    """Examples per optimiser step, over all devices together."""
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop"] = "sgd"
    """`adam` adds the weight decay to the gradient, `adamw` to the weight; `rmsprop` is centred,
    with its epsilon inside the root."""
    learning_rate: float = Field(default=0.01, gt=0)
    """Learning rate at the start (after the warm-up, if any), for the whole batch over all
    devices."""
    learning_rate_batch_size: int | None = Field(default=None, ge=1)
    """The batch size that `learning_rate` and `final_learning_rate` are meant for: with another
    batch size both are scaled in proportion. null: never scaled."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """For `sgd`."""
    nesterov: bool = False
    """For `sgd`: Nesterov momentum."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """L2 decay of all trained parameters."""
    weight_decay_norms: float | None = Field(default=None, ge=0)
    """Decay of the scale and offset of normalisation layers; null: as `weight_decay`."""
    clip_gradient_norm: float | None = Field(default=None, gt=0)
    """Scale gradients down to this norm, over all parameters; null: never."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of each label that is spread evenly over all classes."""
    mixup_alpha: float = Field(default=0.0, ge=0)
    """Mixup: blend every example with another of its batch, with a weight from Beta(alpha, alpha).
    0: off. The logged train top-1 then counts a hit on either label by its weight."""
    freeze_batch_norm: Literal["none", "statistics", "all", "all_but_first"] = "none"
    """What stays fixed in batch norms. `statistics`: the running statistics, which are then used in
    training too. `all`: scale and offset as well. `all_but_first`: as `all`, but the first batch
    norm is trained (TSN's "partial BN")."""
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Keep an exponential moving average of the weights with this decay, e.g. 0.999 (less in the
    first steps). The average is validated and saved in `weights/`. null: off."""
    early_stop_epochs: int | None = Field(default=None, ge=1)
    """Stop when the validation metric has not improved for this many epochs; null: never."""

    schedule: Literal["constant", "steps", "cosine", "noam"] = "constant"
    """How the learning rate changes. `steps`: times `decay_factor` at each `decay_at`. `cosine`:
    down to `final_learning_rate` in half a cosine wave. `noam`: up in a straight line, then down as
    1 / sqrt(step); it ignores `learning_rate`."""
    decay_at: tuple[float, ...] = ()
    """For `steps`: when the rate drops, in `decay_unit`; fractions are allowed."""
    decay_unit: Literal["epochs", "steps"] = "epochs"
    """Unit of `decay_at`."""
    decay_factor: float = Field(default=0.1, gt=0)
    """For `steps`: factor on the rate at each drop."""
    final_learning_rate: float = Field(default=0.0, ge=0)
    """For `cosine`: the rate at the end."""
    noam_size: int | None = Field(default=None, ge=1)
    """For `noam`: size of the layer that the rate is for; a larger size gives a lower rate."""
    noam_warmup_steps: int = Field(default=1000, ge=1)
    """For `noam`: steps until the rate is highest, at 1 / sqrt(noam_size * noam_warmup_steps)."""
    warmup_epochs: float = Field(default=0.0, ge=0)
    """Over this many epochs the rate rises in a straight line."""
    videos_per_epoch: int | None = Field(default=None, ge=1)
    """Videos per epoch as the schedule counts them: int(videos / batch_size + 1) steps, as in the
    2019 library. It does not change which data are read. null: the number of training videos."""

    precision: Precision = "fp32"
    """Number format of the computation; weights stay in fp32. `fp16` needs a GPU."""
    channels_last: bool = True
    """Keep the channels of a pixel side by side in memory, which is faster for convolutions."""
    gradient_accumulation: int = Field(default=1, ge=1)
    """Cut each device's share of the batch into this many parts, where it does not fit into memory.
    Batch and schedule stay the same; batch norms see the smaller parts."""
    compile: bool = False
    """Compile the training step with `torch.compile`: minutes at the start, faster steps after.
    Needs a C++ compiler, or Triton on a GPU. Validation runs the model as it is."""
    num_gpus: int | None = Field(default=None, ge=1)
    """Devices that the run is meant for, checked at the start; null: as many as it is launched
    on."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of fresh weights, the order of the data, augmentation and dropout."""

    @property
    def learning_rate_scale(self) -> float:
        """Factor on the learning rates for this batch size."""
        return self.batch_size / (self.learning_rate_batch_size or self.batch_size)

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        wrong = [*self._schedule_mistakes(), *self._noam_mistakes()]
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            wrong.append("nesterov: needs optimizer: sgd and a momentum above 0")
        if self.batch_size % self.gradient_accumulation:
            wrong.append(
                f"gradient_accumulation: batch_size {self.batch_size} cannot be cut into "
                f"{self.gradient_accumulation} equal parts"
            )
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def _schedule_mistakes(self) -> list[str]:
        wrong: list[str] = []
        if self.schedule == "steps" and not self.decay_at:
            wrong.append("decay_at: schedule: steps needs at least one place to drop the rate")
        if self.schedule != "steps" and self.decay_at:
            wrong.append(
                f"decay_at: has no effect with schedule: {self.schedule}; "
                "set schedule: steps or decay_at: []"
            )
        if any(at <= 0 for at in self.decay_at) or list(self.decay_at) != sorted(
            set(self.decay_at)
        ):
            wrong.append(f"decay_at: must be above 0 and increase, got {list(self.decay_at)}")
        if self.schedule != "cosine" and self.final_learning_rate:
            wrong.append(
                f"final_learning_rate: has no effect with schedule: {self.schedule}; "
                "it belongs to schedule: cosine"
            )
        if self.final_learning_rate > self.learning_rate:
            wrong.append(
                f"final_learning_rate: {self.final_learning_rate:g} is above "
                f"learning_rate {self.learning_rate:g}"
            )
        if self.warmup_epochs > self.epochs:
            wrong.append(
                f"warmup_epochs: {self.warmup_epochs:g} is more than the "
                f"{counted(self.epochs, 'epoch')} "
                "of the run"
            )
        return wrong

    def _noam_mistakes(self) -> list[str]:
        if self.schedule != "noam":
            if self.noam_size is None:
                return []
            return [
                f"noam_size: has no effect with schedule: {self.schedule}; "
                "it belongs to schedule: noam"
            ]
        wrong: list[str] = []
        if self.noam_size is None:
            wrong.append("noam_size: schedule: noam needs the size of the layer its rate is for")
        if self.learning_rate_batch_size is not None:
            wrong.append(
                "learning_rate_batch_size: has no effect with schedule: noam, whose rate does not "
                "depend on the batch"
            )
        if self.warmup_epochs:
            wrong.append("warmup_epochs: schedule: noam has a warm-up; set noam_warmup_steps")
        return wrong


class TaggingTrainSettings(TrainSettings):
    """How to optimise a model that tells the classes of whole videos."""

    loss: Literal["auto", "softmax", "sigmoid"] = "auto"
    """`softmax`: each video is of one class, and its scores sum to 1. `sigmoid`: of any number of
    classes. `auto`: as the labels are, for videos themselves; else `sigmoid`."""
    class_weights: Literal["balanced"] | Path | None = None
    """Factors on the training loss of each class. `balanced`: labels / (classes x labels of the
    class), so that all classes count alike. A file: `CLASS WEIGHT` per line, or a JSON object; a
    class is its name or its number from 0."""


class ClipTrainSettings(TaggingTrainSettings):
    """How to optimise a model that tells the classes of clips."""

    loss: Literal["auto", "softmax", "sigmoid"] = "auto"
    """`softmax`: each video is of one class, and its scores sum to 1. `sigmoid`: a video may have
    several classes, each with a score of its own. `auto`: as `data.train` lists them."""


class SecondStage(Settings):
    """What differs in the training of the second of two networks; see `TrainSettings`."""

    epochs: int = Field(default=1, ge=1)
    """Passes over the training data."""
    batch_size: int = Field(default=16, ge=1)
    """Videos per optimiser step, over all devices together."""
    learning_rate: float = Field(default=0.01, gt=0)
    """Learning rate at the start."""
    weight_decay: float = Field(default=1e-5, ge=0)
    """L2 decay of all trained parameters."""
    schedule: Literal["constant", "steps", "cosine"] = "constant"
    """How the learning rate changes."""
    decay_at: tuple[float, ...] = ()
    """For `steps`: when the rate drops, in `decay_unit`."""
    decay_unit: Literal["epochs", "steps"] = "epochs"
    """Unit of `decay_at`."""
    decay_factor: float = Field(default=0.1, gt=0)
    """For `steps`: factor on the rate at each drop."""


class TwoStageTrainSettings(TrainSettings):
    """How to optimise two networks, one after the other."""

    second_stage: SecondStage = SecondStage()
    """What differs in the training of the second network."""

    def stages(self) -> tuple[TrainSettings, TrainSettings]:
        """The settings of both stages.

        Raises:
            pydantic.ValidationError: The settings of the second stage do not fit together.
        """
        first = self.model_dump(exclude={"second_stage"})
        second: dict[str, Any] = {**first, "learning_rate_batch_size": None, "warmup_epochs": 0.0}
        second |= {"final_learning_rate": 0.0, "videos_per_epoch": None}
        second |= self.second_stage.model_dump()
        return TrainSettings(**first), TrainSettings(**second)

    @model_validator(mode="after")
    def _second_stage_fits(self) -> Self:
        try:
            self.stages()
        except ValidationError as error:
            found = mistakes_of(TrainSettings, error)
            raise ValueError("second_stage: " + "; ".join(each.text for each in found)) from None
        return self
