"""What an administrator may change of a recipe: a handful of fields, each explained."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import streamlit as st
from pydantic import ValidationError

from engine.config import Recipe
from engine.errors import WorkbenchError

BASE_MODEL = "teacher.base_model"
PATIENTS = "data.training_patients"
LAYERS = "teacher.adapted_layers"
SHIPPED = "default"
NEEDED = "config.json"  # what every folder of a base model has


@dataclass(frozen=True)
class Field:
    """One value of a recipe: where it stands, what it is called, and what it means."""

    path: str
    label: str
    help: str
    choices: tuple | None = None  # the usual ones; others may be typed
    step: float | None = None
    format: str | None = None
    empty: str | None = None  # what an empty field stands for, where it may be empty


FIELDS = (
    Field(
        PATIENTS,
        "Training patients",
        "How many patients to learn from, drawn by chance. Empty: all of them, which is best and "
        "takes the longest. A few hundred are enough to see whether everything works.",
        step=100,
        empty="all",
    ),
    Field(
        "teacher.epochs",
        "Teacher: passes over the records",
        "How often the language model reads every training visit. More passes fit the records "
        "better until it begins to learn them by heart; 1 to 3 are usual. Time grows with it.",
        step=0.5,
        format="%g",
    ),
    Field(
        "teacher.learning_rate",
        "Teacher: learning rate",
        "How far the language model moves at each step. Too high and training breaks down (the "
        "loss jumps or the run fails), too low and it learns little. 0.0001 to 0.0005 are usual.",
        step=0.0001,
        format="%g",
    ),
    Field(
        "teacher.lora_rank",
        "Teacher: LoRA rank",
        "How much of the language model may change: the size of the small matrices (LoRA) that are "
        "trained beside its fixed weights. 8 to 32 are usual; more needs more memory.",
        step=4,
    ),
    Field(
        LAYERS,
        "Teacher: layers that learn",
        "How many of the language model's top layers are trained; those below stay as they are. "
        "Fewer is faster and needs less memory; empty trains all of them. It cannot be more than "
        "the base model has.",
        step=1,
        empty="all",
    ),
    Field(
        "prompt.max_tokens",
        "Longest prompt, in tokens",
        "How much of a patient's record the teacher reads at once; a token is about three quarters "
        "of a word. What does not fit is left out, oldest first. Time and memory grow with it.",
        step=128,
    ),
    Field(
        "seed",
        "Seed of chance",
        "Where the random numbers start. The same seed, records and recipe give the same models; "
        "another seed shows how much of a difference is luck.",
        step=1,
    ),
)
BASE_MODEL_HELP = (
    "The language model that the teacher starts from. “default” is the one that comes with the "
    "workbench. To use another, give the folder on the server that holds its config.json, "
    "tokenizer.json and *.safetensors; nothing is fetched from the network."
)


def draw(recipe: Recipe, available: int, base_models: list[str]) -> dict[str, object]:
    """Draw the fields with a recipe's values; return what they hold, by path.

    `available` is the number of training patients of the cohort. Another recipe's fields have
    other keys, so that choosing it fills in its values.
    """
    values: dict[str, object] = {}
    with st.grid(4, min_column_width=210, vertical_alignment="bottom"):
        known = list(dict.fromkeys([_get(recipe, BASE_MODEL), *base_models]))
        values[BASE_MODEL] = st.selectbox(
            "Base model",
            known,
            key=_key(recipe, BASE_MODEL),
            help=BASE_MODEL_HELP,
            accept_new_options=True,
            placeholder="A folder on the server",
        )
        for field in FIELDS:
            values[field.path] = st.number_input(
                field.label,
                value=_get(recipe, field.path),
                step=field.step,
                format=field.format,
                key=_key(recipe, field.path),
                help=field.help,
                placeholder=f"all {available:,}" if field.path == PATIENTS else field.empty,
            )
    return values


def changed(recipe: Recipe, values: Mapping[str, object]) -> Recipe:
    """Return the recipe with these values; WorkbenchError names the first field that is wrong."""
    content = recipe.model_dump(mode="json")
    for path, value in values.items():
        *sections, name = path.split(".")
        part = content
        for section in sections:
            part = part[section]
        part[name] = value
    if content["teacher"]["adapted_layers"] is None:
        content["teacher"]["cache_lower_layers"] = False  # there are none below
    try:
        asked = Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise WorkbenchError(f"{label(path)}: {_in_words(first)}.") from None
    base = asked.teacher.base_model
    if base != SHIPPED and not (Path(base) / NEEDED).is_file():
        raise WorkbenchError(
            f"Base model: the server has no folder {base} with a {NEEDED}; choose “{SHIPPED}”, or "
            "the folder of a model that was copied to the server."
        )
    return asked


def differences(recipe: Recipe, values: Mapping[str, object]) -> dict[str, tuple]:
    """Return by label what was changed: (value of the recipe, value asked for)."""
    before = {path: _get(recipe, path) for path in values}
    return {
        label(path): (before[path], value)
        for path, value in values.items()
        if value != before[path]
    }


def summary(recipe: dict) -> dict[str, object]:
    """Return the values of a stored recipe by label; what an older one lacks is left out."""
    found = {}
    for path in (BASE_MODEL, *(field.path for field in FIELDS)):
        part: object = recipe
        for name in path.split("."):
            part = part.get(name, _ABSENT) if isinstance(part, Mapping) else _ABSENT
        if part is not _ABSENT:
            field = next((field for field in FIELDS if field.path == path), None)
            found[label(path)] = field.empty if part is None and field else part
    return found


def label(path: str) -> str:
    """Return what a field is called on the page; its path where the page does not show it."""
    return next(
        (field.label for field in FIELDS if field.path == path),
        "Base model" if path == BASE_MODEL else path,
    )


_ABSENT = object()


def _in_words(fault: dict) -> str:
    if fault["type"] in ("int_type", "float_type", "string_type"):
        return "fill it in"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return message[:1].lower() + message[1:]


def _get(recipe: Recipe, path: str):
    value = recipe
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _key(recipe: Recipe, path: str) -> str:
    content = sha256(recipe.model_dump_json().encode()).hexdigest()
    return f"recipe-{content[:8]}-{path}"
