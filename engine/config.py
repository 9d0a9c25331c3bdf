"""Recipes: one YAML file that fixes everything about a training run.

    recipe = load_recipe(Path("recipes/quick.yaml"))

Unknown fields, wrong types and impossible values are refused with the field's name.
"""

from pathlib import Path
from typing import Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine.errors import WorkbenchError

ProfileField = Literal[
    "age_band",
    "sex",
    "insurance",
    "language",
    "marital_status",
    "race",
    "religion",
    "admission_type",
]
EVERY_PROFILE_FIELD: tuple[ProfileField, ...] = get_args(ProfileField)


class Section(BaseModel):
    """A part of a recipe: immutable, and strict about the names it knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataRecipe(Section):
    """Which visits are trained on."""

    training_patients: int | None = Field(None, ge=1)  # None: every patient of the training split
    validation_patients: int | None = Field(None, ge=1)
    samples: Literal["every", "last"] = "every"  # labelled visits of a patient to train on


class PromptRecipe(Section):
    """What the prompt shows."""

    profile: tuple[ProfileField, ...] = EVERY_PROFILE_FIELD
    history: bool = True
    max_tokens: int = Field(512, ge=64)
    max_earlier_visits: int | None = Field(None, ge=1)  # the latest ones; None: all
    titles: Literal["long", "short", "code"] = "long"  # official, shortened, or the bare code
    order: Literal["recent", "medications_first"] = "recent"  # what of the history stays longest


class PreparationRecipe(Section):
    """Continued training of the base model on terminology text, before it sees a patient."""

    steps: int = Field(1000, ge=1)
    learning_rate: float = Field(2e-4, gt=0)
    batch_size: int = Field(8, ge=1)
    max_tokens: int = Field(128, ge=16)  # of one row of a batch, filled with sentences
    lora_rank: int = Field(16, ge=1)  # on all linear layers


class TeacherRecipe(Section):
    """LoRA on a causal language model with a multi-label head."""

    base_model: str = "default"  # "default", a local folder, or a hub name
    preparation: PreparationRecipe | None = None  # on terminology first; None: the base as it is
    lora_rank: int = Field(8, ge=1)
    lora_alpha: int = Field(16, ge=1)
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    adapted_layers: int | None = Field(None, ge=1)  # LoRA on the top layers only; None: on all
    lora_targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"  # or names: [q_proj, …]
    cache_lower_layers: bool = False  # with adapted_layers: run the layers below only once
    load_in_4bit: bool = False  # base weights in 4 bits (NF4) while training; needs bitsandbytes
    processes: int = Field(1, ge=1)  # of a retraining run, one a graphics card: `torchrun`
    sharding: Literal["none", "fsdp"] = "none"  # fsdp: torchrun's processes share the base weights
    pooling: Literal["last", "last_and_mean"] = "last"  # what the head sees: last token, + mean
    linear_path: bool = False  # a logistic regression on the prompt's phrases, averaged in
    class_weighting: Literal["none", "sqrt", "balanced"] = "none"  # of rare medication groups
    label_smoothing: float = Field(0.0, ge=0, lt=1)  # targets drawn this far towards one half
    focal_gamma: float = Field(0.0, ge=0)  # above 0: what is answered well already counts less
    learning_rate: float = Field(3e-4, gt=0)
    head_learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    warmup_share: float = Field(0.05, ge=0, lt=1)  # of all steps
    epochs: float = Field(1.0, gt=0)
    max_steps: int | None = Field(None, ge=1)  # stop there, whatever the epochs
    batch_size: int = Field(8, ge=1)  # of a step; under torchrun the processes share it
    evaluations: int = Field(1, ge=1)  # on validation, spread evenly over the run
    patience: int = Field(2, ge=1)  # evaluations without a better PRAUC before stopping
    precision: Literal["fp32", "bf16"] = "bf16"  # of the matrix products; weights stay fp32

    @model_validator(mode="after")
    def _cache_needs_frozen_layers(self) -> "TeacherRecipe":
        if self.cache_lower_layers and self.adapted_layers is None:
            raise ValueError("cache_lower_layers needs adapted_layers: some must stay frozen")
        return self

    @model_validator(mode="after")
    def _what_is_shared_out_is_whole(self) -> "TeacherRecipe":
        if self.preparation and self.load_in_4bit:
            raise ValueError("preparation cannot be merged into 4-bit weights; choose one")
        if self.sharding == "fsdp" and self.load_in_4bit:
            raise ValueError("sharding: fsdp cannot share out weights of load_in_4bit; choose one")
        if self.sharding == "fsdp" and self.cache_lower_layers:
            raise ValueError(
                "cache_lower_layers runs the whole base model in one process; "
                "set it to false with sharding: fsdp"
            )
        return self


class StudentRecipe(Section):
    """A small transformer over codes, taught by labels, hidden states and profiles."""

    hidden_size: int = Field(64, ge=8)
    heads: int = Field(4, ge=1)
    layers: int = Field(1, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    max_history: int = Field(8, ge=0)  # latest earlier visits kept
    unknown_rate: float = Field(
        0.05, ge=0, lt=1
    )  # codes hidden in training, so "unknown" is learnt
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    batch_size: int = Field(32, ge=1)
    epochs: int = Field(30, ge=1)
    patience: int = Field(5, ge=1)
    distillation_weight: float = Field(1.0, ge=0)  # alpha in L = BCE + alpha * KD + beta * align
    alignment_weight: float = Field(0.1, ge=0)  # beta
    alignment_temperature: float = Field(0.1, gt=0)
    linear_path: bool = False  # weights from codes straight to the logits, beside the transformer
    linear_path_from_teacher: float = Field(0.0, ge=0, le=1)  # share of that path to start from
    logit_weight: float = Field(0.0, ge=0)  # of the distillation of the teacher's logits
    logit_temperature: float = Field(2.0, gt=0)
    embeddings_from_teacher: bool = False  # codes start from their titles; unseen ones have them
    unlabelled: int = Field(0, ge=0)  # perturbed copies of a training visit, taught by the teacher
    online: bool = False  # ask the teacher at every step instead of reading cached answers
    interaction_weight: float = Field(0.0, ge=0)  # of the expected rate of interacting pairs
    interaction_target: float | None = Field(None, ge=0, lt=1)  # lower only what lies above it

    @model_validator(mode="after")
    def _heads_divide_the_hidden_size(self) -> "StudentRecipe":
        if self.hidden_size % self.heads:
            raise ValueError("hidden_size must be a multiple of heads")
        return self

    @model_validator(mode="after")
    def _a_start_needs_its_path(self) -> "StudentRecipe":
        if self.linear_path_from_teacher and not self.linear_path:
            raise ValueError("linear_path_from_teacher needs linear_path; set both, or neither")
        return self

    @model_validator(mode="after")
    def _a_target_needs_its_loss(self) -> "StudentRecipe":
        if self.interaction_target is not None and not self.interaction_weight:
            raise ValueError("interaction_target does nothing without interaction_weight; set both")
        return self


class Recipe(Section):
    """Everything about one training run."""

    name: str = Field(min_length=1, pattern=r"^[\w.-]+$")
    seed: int = 0
    data: DataRecipe = DataRecipe()
    prompt: PromptRecipe = PromptRecipe()
    teacher: TeacherRecipe = TeacherRecipe()
    student: StudentRecipe = StudentRecipe()
    calibration: Literal["temperature", "isotonic"] = "temperature"  # of both models' probabilities
    coverage: float = Field(0.9, gt=0, lt=1)  # share of what was given in the prediction sets

    @model_validator(mode="after")
    def _the_teacher_has_the_path_to_start_from(self) -> "Recipe":
        if self.student.linear_path_from_teacher and not self.teacher.linear_path:
            raise ValueError("student.linear_path_from_teacher needs teacher.linear_path: true")
        return self


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe; raises WorkbenchError naming the file and the field."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WorkbenchError(
            f"{path}: no such recipe; the shipped ones are in recipes/ (quick.yaml, full.yaml)"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise WorkbenchError(f"{path}: cannot be read as YAML ({reason})") from None
    if not isinstance(content, dict):
        raise WorkbenchError(f"{path}: expected named fields such as 'name' and 'teacher'")
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise WorkbenchError(f"{path}: field '{field}': {first['msg']}; mend it there") from None


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe with every default spelled out, so that it stays true when defaults move."""
    text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    Path(path).write_text(text, encoding="utf-8")
