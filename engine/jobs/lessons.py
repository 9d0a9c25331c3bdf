"""What a run's student learns from: visits, perturbed ones, and the teacher's word on both."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engine.config import Recipe
from engine.errors import WorkbenchError
from engine.records.cohort import Cohort
from engine.records.schema import Visit
from engine.student.distillation import CachedTargets, OnlineTargets
from engine.student.perturbed import perturbed
from engine.student.teacher_path import PathReader
from engine.student.title_embeddings import TitleReader
from engine.student.training import Lessons
from engine.teacher import hidden_states, lower_layers
from engine.teacher.hidden_states import HiddenStates
from engine.teacher.inference import Teacher
from engine.teacher.linear_path import FILE as LINEAR_PATH
from engine.teacher.linear_path import LinearPath
from engine.teacher.training import LOWER_LAYERS


def gather(
    cohort: Cohort,
    recipe: Recipe,
    output: Path,
    training: Sequence[Visit],
    cached: HiddenStates,
) -> Lessons:
    """Return the lessons of a run; the teacher is loaded only where the recipe needs it.

    Args:
        cached: the teacher's outputs on `to_cache(...)`.
    """
    options = recipe.student
    unlabelled = unlabelled_visits(cohort, recipe, training)
    teacher = None
    if options.online or options.embeddings_from_teacher:
        teacher = open_teacher(cohort, recipe, output)
    visits = [*training, *unlabelled]
    if options.online:

        def ask(some: Sequence[Visit]) -> tuple[np.ndarray, np.ndarray]:
            logits, hidden = teacher.predict(
                [teacher.prompt(visit, cohort.title).text for visit in some]
            )
            return hidden, logits

        targets = OnlineTargets(ask, visits, len(training))
    else:
        targets = CachedTargets(*cached.of(visits), len(training))
    titles = None
    if options.embeddings_from_teacher:
        embeddings = teacher.model.get_input_embeddings().weight.detach().float().cpu()
        titles = TitleReader(teacher.tokenizer, embeddings, cohort.title)
    path = path_reader(cohort, recipe, output / "teacher")
    return Lessons(training, targets, unlabelled, titles, path)


def path_reader(cohort: Cohort, recipe: Recipe, adapter: Path) -> PathReader | None:
    """Open the linear path of a teacher where its student starts from it."""
    if not recipe.student.linear_path_from_teacher:
        return None
    path = LinearPath.load(adapter / LINEAR_PATH, len(cohort.vocabulary.medications))
    return PathReader(path, cohort.title, recipe.prompt)


def to_cache(cohort: Cohort, recipe: Recipe, training: Sequence[Visit]) -> list[Visit]:
    """Return the visits whose teacher outputs are to be kept: none where it is asked online."""
    if recipe.student.online:
        return []
    return [*training, *unlabelled_visits(cohort, recipe, training)]


def is_cached(output: Path, visits: Sequence[Visit]) -> bool:
    """Whether a run has the outputs of its teacher on all of `visits`."""
    try:
        hidden_states.load(output, output / "teacher").of(visits)
    except WorkbenchError:
        return False
    return True


def unlabelled_visits(cohort: Cohort, recipe: Recipe, training: Sequence[Visit]) -> list[Visit]:
    """Return the perturbed copies of the training visits that a recipe asks for."""
    if not recipe.student.unlabelled:
        return []
    return perturbed(
        training,
        recipe.student.unlabelled,
        cohort.vocabulary.diagnoses,
        cohort.vocabulary.procedures,
        recipe.seed,
        tables=recipe.student.embeddings_from_teacher,
    )


def kept_by_training(teacher: Teacher, recipe: Recipe, output: Path) -> lower_layers.Kept | None:
    """Open what a run kept of its teacher's lower layers, where the recipe says so."""
    options = recipe.teacher
    if not options.cache_lower_layers:
        return None
    below = teacher.model.config.num_hidden_layers - options.adapted_layers
    bf16 = options.precision == "bf16"
    return lower_layers.kept(teacher.model, below, output / LOWER_LAYERS, bf16)


def open_teacher(cohort: Cohort, recipe: Recipe, output: Path) -> Teacher:
    """Load the taught model of a run; WorkbenchError when there is none yet."""
    adapter = output / "teacher"
    if not adapter.is_dir():
        raise WorkbenchError(f"{adapter}: no trained teacher there; run `train teacher` first")
    return Teacher.of(recipe, adapter, len(cohort.vocabulary.medications))
