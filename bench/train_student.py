"""How fast the student learns, as a ratio to a plain way in the same run.

    python -m bench train-student [COHORT] [--models PAIR] [--recipe FILE] [--steps 60]
                                  [--threads 1] [--json FILE]

Steps are those of `python -m engine train student` with distillation and alignment; the cached
hidden states are random numbers, which changes no time. The plain way (`bench/plain_student.py`)
is the same student, padded to 100 codes and 10 visits, with AdamW one weight after another.
"""

import argparse
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from bench import machine, plain_student
from bench.student import COHORT, cost, rates, spread_visits, threads
from engine.config import Recipe, load_recipe
from engine.errors import WorkbenchError
from engine.files import write_json
from engine.records.schema import Visit
from engine.records.vocabulary import Vocabulary
from engine.registry.pair import champion_folder, open_pair
from engine.student.categories import Categories
from engine.student.classroom import Classroom, Lessons
from engine.student.distillation import CachedTargets
from engine.student.model import Student
from engine.student.optimizer import optimizer_for
from engine.student.tensors import encode
from engine.student.training import epoch

HIDDEN_SIZE = 576  # of the default base model
PLAIN_STEPS = 3
TARGET = 800  # patients a second


def measure(recipe: Recipe, vocabulary: Vocabulary, visits: list[Visit], rounds: int = 2) -> dict:
    """Return patients a second of both ways on these visits; the best round counts."""
    draw = np.random.default_rng(0)
    hidden, logits = (
        draw.standard_normal((len(visits), width), np.float32)
        for width in (HIDDEN_SIZE, len(vocabulary.medications))
    )
    recipe = _from_labelled_visits(recipe)
    lessons = Lessons(visits, CachedTargets(hidden, logits, len(visits)))
    categories = Categories.known(vocabulary) if recipe.student.embeddings_from_teacher else None
    fast = _fast(recipe, vocabulary, lessons, categories)
    plain, asked = _plain(recipe, vocabulary, lessons, categories)
    fast(), plain()  # PyTorch's first steps are slow
    costs, plain_costs = [], []
    for _ in tqdm(range(rounds), "training", leave=False, disable=None):
        plain_costs.append(cost(plain))
        costs.append(cost(fast))
    taken, beside = rates(len(visits), costs), rates(asked, plain_costs)
    rate = "patients_per_second"
    return {
        "recipe": recipe.name,
        "hidden_size": recipe.student.hidden_size,
        "linear_path": recipe.student.linear_path,
        "batch_size": recipe.student.batch_size,
        "visits": len(visits),
        **taken,
        "plain": {
            "codes": plain_student.CODES,
            "visits": plain_student.VISITS,
            **beside,
        },
        "ratio": taken[rate] / beside[rate],
        "target": TARGET,
        "met": taken[rate] >= TARGET,
    }


def as_text(figures: dict) -> str:
    """Return the table."""
    plain = figures["plain"]
    path = "with" if figures["linear_path"] else "without"
    lines = [f"{'':<38}{'student':>10}{'plain':>10}{'times':>8}   target"]
    for name, key, target in (
        ("training, patients/s", "patients_per_second", f"at least {figures['target']:,}"),
        ("training, patients/s of processor", "patients_per_processor_second", ""),
    ):
        missed = "  NOT MET" if target and not figures["met"] else ""
        lines.append(
            f"{name:<38}{figures[key]:>10,.0f}{plain[key]:>10,.1f}"
            f"{figures[key] / plain[key]:>7.0f}×   {target}{missed}"
        )
    lines.append(
        f"recipe {figures['recipe']}: hidden size {figures['hidden_size']}, {path} the linear "
        f"path, batches of {figures['batch_size']}, {figures['visits']:,} visits; plain: sets of "
        f"{plain['codes']} codes, {plain['visits']} visits a patient"
    )
    return "\n".join(line.rstrip() for line in lines)


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command."""
    parser = subparsers.add_parser("train-student", help="time the student's training")
    parser.add_argument("cohort", nargs="?", type=Path, default=COHORT, metavar="COHORT")
    parser.add_argument("--models", type=Path, metavar="PAIR", help="default: the champion")
    parser.add_argument("--recipe", type=Path, metavar="FILE", help="default: the pair's own")
    parser.add_argument("--steps", type=int, default=60, metavar="N", help="in each of two rounds")
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="of PyTorch (default 1)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and write."""
    if arguments.steps < 1:
        raise WorkbenchError(f"--steps: expected 1 or more, not {arguments.steps}")
    if arguments.threads < 1:
        raise WorkbenchError(f"--threads: expected 1 or more, not {arguments.threads}")
    facts = machine.facts()
    facts["versions"]["torch"] = version("torch")
    pair = open_pair(arguments.models or champion_folder())
    recipe = load_recipe(arguments.recipe) if arguments.recipe else pair.recipe
    visits = spread_visits(arguments.cohort, arguments.steps * recipe.student.batch_size)
    with threads(arguments.threads):
        figures = measure(recipe, pair.vocabulary, visits)
    print(f"{as_text(figures)}\nthreads: {arguments.threads}; {machine.as_text(facts)}")
    if arguments.json:
        settings = {"threads": arguments.threads}
        write_json(arguments.json, {"benchmark": "train-student", **facts, **settings, **figures})
    return 0


def _from_labelled_visits(recipe: Recipe) -> Recipe:
    """Leave out what one of the two ways does not have: copies of visits, interactions."""
    changes = {"unlabelled": 0, "online": False, "interaction_weight": 0.0}
    changes["interaction_target"] = None
    return recipe.model_copy(update={"student": recipe.student.model_copy(update=changes)})


def _fast(
    recipe: Recipe, vocabulary: Vocabulary, lessons: Lessons, categories: Categories | None
) -> Callable[[], object]:
    """Return one pass over the lessons, as the engine takes it."""
    student = Student.sized_for(vocabulary, recipe, HIDDEN_SIZE, categories)
    classroom = Classroom(lessons, vocabulary, recipe, categories, torch.device("cpu"))
    optimizer = optimizer_for(student, recipe.student)
    schedule = LambdaLR(optimizer, lambda step: 1.0)
    return lambda: epoch(student, classroom, optimizer, schedule)


def _plain(
    recipe: Recipe, vocabulary: Vocabulary, lessons: Lessons, categories: Categories | None
) -> tuple[Callable[[], None], int]:
    """Return a few plain steps, and over how many visits they go."""
    options, groups = recipe.student, len(vocabulary.medications)
    student = Student.sized_for(vocabulary, recipe, HIDDEN_SIZE, categories).train()
    reading = options.max_history, recipe.prompt.profile, categories
    encoded = [encode(visit, vocabulary, *reading) for visit in lessons.training]
    optimizer = torch.optim.AdamW(student.parameters(), lr=options.learning_rate, foreach=False)
    rows = torch.arange(len(encoded)).split(options.batch_size)[:PLAIN_STEPS]

    def steps() -> None:
        for some in rows:
            batch = plain_student.padded([encoded[row] for row in some], groups)
            optimizer.zero_grad()
            plain_student.loss(student, batch, lessons.targets.of(some), options).backward()
            optimizer.step()

    return steps, sum(map(len, rows))
