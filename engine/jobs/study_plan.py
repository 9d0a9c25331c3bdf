"""What a study is asked to do, and the models that answer it, by name."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from engine.config import Recipe
from engine.evaluation.bootstrap import RESAMPLES
from engine.jobs.study_models import Workshop
from engine.jobs.study_parts import Part
from engine.records.cohort import Cohort
from engine.registry.pair import Pair

QUESTIONS = ("rq1", "rq2", "rq3", "rq4", "rq5")
ALPHAS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)
BETAS = (0.0, 0.03, 0.1, 0.3, 1.0)
# (weight, target) of the loss on interactions, along the trade-off curve of RQ5
INTERACTION_LOSSES = ((0.3, 0.001), (1.0, 0.001), (3.0, 0.001), (10.0, 0.001), (10.0, 0.003))


@dataclass(frozen=True)
class Setting:
    """What a study is asked to do."""

    cohort: Cohort
    recipe: Recipe
    output: Path
    pair: Pair | None = None  # the trained teacher; None: one is trained from the recipe
    seeds: int = 3  # of students and neural baselines
    grid_seeds: int | None = None  # of the students of RQ3; None: as many
    workers: int = 1  # processes that compute parts
    only: tuple[str, ...] = QUESTIONS
    teachers: bool = False  # also retrain the teacher where RQ2 and RQ5 change it
    preset: str | None = None
    command: str = ""
    resamples: int = RESAMPLES
    alphas: tuple[float, ...] = ALPHAS
    betas: tuple[float, ...] = BETAS
    interaction_losses: tuple[tuple[float, float], ...] = INTERACTION_LOSSES


@dataclass
class Plan:
    """The models of each question, and what could not be had."""

    models: dict[str, tuple[str, list[Part], bool]] = field(default_factory=dict)
    questions: dict[str, dict] = field(default_factory=dict)
    not_measured: list[str] = field(default_factory=list)

    def add(self, name: str, title: str, parts: list[Part], claims: bool = True) -> str:
        """Add a model with one part a seed; asking twice gives the same model."""
        self.models.setdefault(name, (title, parts, claims))
        return name

    def parts(self) -> dict[str, Part]:
        """Return every part of the models by name, those of the teachers first."""
        asked = [part for _, some, _ in self.models.values() for part in some]
        return {part.name: part for part in sorted(asked, key=lambda part: not part.alone)}


def with_needs(parts: Iterable[Part]) -> dict[str, Part]:
    """Return parts by name, each after the parts it reads."""
    found = {}
    for part in parts:
        found |= with_needs(part.needs) | {part.name: part}
    return found


def student(setting: Setting, workshop: Workshop, plan: Plan) -> str:
    parts = [workshop.student(setting.recipe, seed) for seed in range(setting.seeds)]
    return plan.add("student", "Student", parts)


def undistilled(setting: Setting, workshop: Workshop, plan: Plan) -> str:
    parts = [
        workshop.student(setting.recipe, seed, "student_undistilled", distil=False)
        for seed in range(setting.seeds)
    ]
    return plan.add("student_undistilled", "Student, not distilled", parts)


def edited(recipe: Recipe, **sections: dict) -> Recipe:
    """Return the recipe with fields of its sections changed, and checked again."""
    content = recipe.model_dump(mode="json")
    for section, changes in sections.items():
        content[section] |= changes
    return Recipe.model_validate(json.loads(json.dumps(content)))
