"""Which cohort and recipe a run folder belongs to, so that it is never gone on with by another."""

import shutil
from pathlib import Path

from pydantic import ValidationError

from engine.config import Recipe
from engine.errors import WorkbenchError
from engine.files import read_json, write_json
from engine.records.cohort import Cohort

RUN = "run.json"
STAGES = "stages.json"  # how long each stage took, and on what


def open_run(output: Path, cohort: Cohort, recipe: Recipe, resume: bool) -> None:
    """Start a run folder, or make sure that a resumed one is the same run."""
    if resume:
        require_same_run(output, cohort, recipe)
        return
    if output.exists() and not output.is_dir():
        raise WorkbenchError(f"{output}: is a file; name a folder for the run")
    if output.is_dir() and any(output.iterdir()) and not (output / RUN).exists():
        raise WorkbenchError(
            f"{output}: is not empty and is no training run; name a new --output folder"
        )
    finished = [name for name in ("teacher", "pair") if (output / name).exists()]
    if finished:
        raise WorkbenchError(
            f"{output / finished[0]}: is finished already and would be lost; "
            "name a new --output, or remove it"
        )
    output.mkdir(parents=True, exist_ok=True)
    for leftover in ("metrics.jsonl", STAGES):
        (output / leftover).unlink(missing_ok=True)
    for leftover in ("hidden_states", "logs"):
        shutil.rmtree(output / leftover, ignore_errors=True)
    begin(output, cohort, recipe)


def begin(output: Path, cohort: Cohort, recipe: Recipe) -> None:
    """Write down which cohort and recipe a run folder belongs to; it can be resumed from then."""
    write_json(output / RUN, _run_of(cohort, recipe))


def _run_of(cohort: Cohort, recipe: Recipe) -> dict:
    return {"cohort": cohort.fingerprint, "recipe": recipe.model_dump(mode="json")}


def require_same_run(output: Path, cohort: Cohort, recipe: Recipe) -> None:
    """Refuse another cohort, or a recipe that differs in more than student and calibration."""
    if not (output / RUN).exists():
        raise WorkbenchError(f"{output}: no checkpoint to resume from; run without --resume")
    known, asked = read_json(output / RUN, "start the run again"), _run_of(cohort, recipe)
    known["recipe"] = _today(known.get("recipe"))
    for run in (known, asked):
        for part in ("student", "calibration", "coverage"):
            run["recipe"].pop(part, None)
    if known != asked:
        raise WorkbenchError(
            f"{output}: was started with another cohort or recipe; "
            "go on with the same ones, or name a new --output"
        )


def _today(recipe: object) -> dict:
    """Return a run's recipe with the fields that are newer than the run at their defaults."""
    try:
        return Recipe.model_validate(recipe).model_dump(mode="json")
    except ValidationError:
        return {}  # of a newer program, or damaged: the same as none we know
