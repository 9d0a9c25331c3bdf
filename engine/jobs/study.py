"""The questions of the LEADER paper (arXiv 2402.02803, section 4), asked of a cohort.

    study(Setting(cohort, recipe, output, pair))

    rq1   how teacher, student and every baseline compare
    rq2   what each piece of the method is worth (ablations)
    rq3   how the weights of distillation (alpha) and alignment (beta) matter
    rq4   what each model costs: parameters, memory, latency

Every model is a part of its own (`engine.jobs.study_parts`): a study that was stopped goes on where
it was, and what did not change is not computed again.
"""

import importlib.metadata
import json
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch
from tqdm import tqdm

from engine.config import Recipe
from engine.errors import WorkbenchError
from engine.evaluation.bootstrap import CONFIDENCE, RESAMPLES
from engine.jobs.pipeline import hardware
from engine.jobs.study_measures import Yardstick
from engine.jobs.study_models import BASELINES, Workshop, baseline_class, prediction
from engine.jobs.study_parts import Part, Parts, sole_study
from engine.records.cohort import Cohort
from engine.registry import Pair

QUESTIONS = ("rq1", "rq2", "rq3", "rq4")
ALPHAS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)
BETAS = (0.0, 0.03, 0.1, 0.3, 1.0)
PACKAGES = ("torch", "transformers", "peft", "numpy", "scikit-learn")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Setting:
    """What a study is asked to do."""

    cohort: Cohort
    recipe: Recipe
    output: Path
    pair: Pair | None = None  # the trained teacher; None: one is trained from the recipe
    seeds: int = 3
    only: tuple[str, ...] = QUESTIONS
    teachers: bool = False  # also retrain the teacher for the ablations that change what it reads
    preset: str | None = None
    command: str = ""
    resamples: int = RESAMPLES
    alphas: tuple[float, ...] = ALPHAS
    betas: tuple[float, ...] = BETAS


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


def study(setting: Setting, say: Say = tqdm.write) -> dict:
    """Run or go on with a study; returns the report, ready for JSON (`engine.jobs.study_report`).

    Raises WorkbenchError when the folder is in use, the pair belongs to another cohort, or the
    cohort is not the preset's.
    """
    check(setting)
    with sole_study(setting.output):
        parts = Parts(setting.output)
        workshop = Workshop(setting.cohort, setting.recipe, parts, setting.output, setting.pair)
        plan = make_plan(setting, workshop)
        work = [part for _, some, _ in plan.models.values() for part in some]
        outcomes = {}
        with tqdm(work, desc="study", unit="part") as bar:
            for part in bar:
                bar.set_postfix_str(part.name)
                kept = parts.kept(part)
                outcomes[part.name] = kept or parts.get(part)
                took = "kept" if kept else f"{outcomes[part.name].facts['seconds']:,.0f} s"
                say(f"{part.name}: {took}")
        return _report(setting, workshop, plan, outcomes)


def check(setting: Setting) -> None:
    """Refuse a study whose pieces do not belong together."""
    cohort = setting.cohort
    if setting.seeds < 1:
        raise WorkbenchError(f"--seeds {setting.seeds}: expected 1 or more")
    preset = (cohort.manifest.get("options") or {}).get("preset")
    if setting.preset and preset != setting.preset:
        raise WorkbenchError(
            f"{cohort.folder}: was not ingested with --preset {setting.preset}; "
            f"ingest it again with that option, or leave --preset out here"
        )
    pair = setting.pair
    if pair is not None and pair.vocabulary.to_dict() != cohort.vocabulary.to_dict():
        raise WorkbenchError(
            f"{pair.folder}: was trained on another cohort than {cohort.folder}; name --recipe "
            "without --models to train a teacher on it, or --folds 5 to adapt this pair to it"
        )


def make_plan(setting: Setting, workshop: Workshop) -> Plan:
    """Name every model of the questions asked, without computing anything."""
    plan = Plan()
    if "rq1" in setting.only or "rq4" in setting.only:
        compared = _compared(setting, workshop, plan)
        for question in ("rq1", "rq4"):
            if question in setting.only:
                plan.questions[question] = {"models": compared}
    if "rq2" in setting.only:
        plan.questions["rq2"] = _ablations(setting, workshop, plan)
    if "rq3" in setting.only:
        plan.questions["rq3"] = {
            "alpha": _grid(setting, workshop, plan, "alpha", "distillation_weight", setting.alphas),
            "beta": _grid(setting, workshop, plan, "beta", "alignment_weight", setting.betas),
        }
    plan.not_measured += [
        f"{question.upper()}: not asked for"
        for question in QUESTIONS
        if question not in setting.only
    ]
    return plan


def _student(setting: Setting, workshop: Workshop, plan: Plan) -> str:
    parts = [workshop.student(setting.recipe, seed) for seed in range(setting.seeds)]
    return plan.add("student", "Student", parts)


def _undistilled(setting: Setting, workshop: Workshop, plan: Plan) -> str:
    parts = [
        workshop.student(setting.recipe, seed, "student_undistilled", distil=False)
        for seed in range(setting.seeds)
    ]
    return plan.add("student_undistilled", "Student, not distilled", parts)


def _compared(setting: Setting, workshop: Workshop, plan: Plan) -> list[str]:
    names = [
        plan.add("teacher", "Teacher", [workshop.teacher(setting.recipe)]),
        _student(setting, workshop, plan),
        _undistilled(setting, workshop, plan),
    ]
    for name, baseline in BASELINES.items():
        if baseline_class(baseline) is None:
            plan.not_measured.append(f"{baseline.title}: not part of this version")
            continue
        seeds = range(setting.seeds if baseline.seeded else 1)
        parts = [workshop.baseline(name, seed) for seed in seeds]
        names.append(plan.add(name, baseline.title, parts, baseline.claims))
    return names


def _ablations(setting: Setting, workshop: Workshop, plan: Plan) -> dict:
    """Take one piece out at a time; what the teacher reads changes only with `teachers`."""
    recipe = setting.recipe
    names = [_student(setting, workshop, plan), _undistilled(setting, workshop, plan)]

    def ablate(name: str, title: str, edited: Recipe, reads_less: bool) -> None:
        retrain = reads_less and setting.teachers
        teacher = f"teacher_{name}" if retrain else "teacher"
        if retrain:
            part = workshop.teacher(edited, teacher)
            names.append(plan.add(teacher, f"Teacher, {title}", [part]))
        taught_by = edited if retrain else None
        parts = [
            workshop.student(edited, seed, name, True, teacher, taught_by)
            for seed in range(setting.seeds)
        ]
        same = reads_less and not retrain
        said = f"Student, {title}" + (" (same teacher)" if same else "")
        names.append(plan.add(name, said, parts))

    ablate("no_alignment", "no alignment", _edit(recipe, student={"alignment_weight": 0.0}), False)
    ablate("no_profile", "no profile", _edit(recipe, prompt={"profile": ()}), True)
    without = _edit(recipe, prompt={"history": False}, student={"max_history": 0})
    ablate("no_history", "no history", without, True)
    if setting.teachers:
        ablate("no_semantics", "codes for titles", _edit(recipe, prompt={"titles": "code"}), True)
    else:
        plan.not_measured.append(
            "RQ2, teachers without profile, without history, and with codes for titles, and the "
            "students of these: each needs a teacher trained anew (--teachers)"
        )
    return {"models": names}


def _grid(
    setting: Setting, workshop: Workshop, plan: Plan, letter: str, weight: str, values: tuple
) -> list[dict]:
    """One student a value and a seed; the recipe's own value is the student of the other tables."""
    own = getattr(setting.recipe.student, weight)
    rows = []
    for value in sorted({*values, own}):
        if value == own:
            name = _student(setting, workshop, plan)
        else:
            name = f"{letter}_{value:g}"
            edited = _edit(setting.recipe, student={weight: value})
            parts = [workshop.student(edited, seed, name) for seed in range(setting.seeds)]
            plan.add(name, f"Student, {letter} = {value:g}", parts)
        rows.append({"value": value, "model": name})
    return rows


def _edit(recipe: Recipe, **sections: dict) -> Recipe:
    """Return the recipe with fields of its sections changed, and checked again."""
    content = recipe.model_dump(mode="json")
    for section, changes in sections.items():
        content[section] |= changes
    return Recipe.model_validate(json.loads(json.dumps(content)))


def _report(setting: Setting, workshop: Workshop, plan: Plan, outcomes: dict) -> dict:
    yardstick = Yardstick(workshop.test, workshop.training, workshop.vocabulary, setting.resamples)
    models, values = {}, {}
    for name, (title, some, claims) in plan.models.items():
        predictions = [prediction(outcomes[part.name], claims) for part in some]
        values[name] = yardstick.values(predictions)
        models[name] = {
            "title": title,
            "groups": yardstick.summary(predictions, values[name]),
            "runs": [outcomes[part.name].facts for part in some],
        }
    questions = plan.questions
    for question, pairs in _pairs(plan).items():
        questions[question]["paired"] = [
            row for a, b in pairs for row in yardstick.paired(a, b, values)
        ]
    return {
        "questions": questions,
        "models": models,
        "counts": yardstick.counts(),
        "interactions": yardstick.interactions(),
        "not_measured": plan.not_measured,
        "settings": settings_of(setting),
    }


def _pairs(plan: Plan) -> dict[str, list[tuple[str, str]]]:
    """Return question → the models whose difference is told, the first minus the second."""
    found = {}
    if "rq1" in plan.questions:
        others = [name for name in plan.questions["rq1"]["models"] if name in BASELINES]
        found["rq1"] = [
            ("teacher", "student"),
            ("student", "student_undistilled"),
            *(("teacher", other) for other in others),
            *(("student", other) for other in others),
        ]
    if "rq2" in plan.questions:
        ablated = [name for name in plan.questions["rq2"]["models"] if name != "student"]
        found["rq2"] = [
            ("teacher" if name.startswith("teacher_") else "student", name)
            for name in ablated
            if not name.startswith("teacher_") or "teacher" in plan.models
        ]
    return found


def settings_of(setting) -> dict:
    """Return what stands beside every table: command, seeds, hardware, date, versions."""
    return {
        "command": setting.command,
        "cohort": setting.cohort.fingerprint,
        "source": setting.cohort.manifest.get("source"),
        "recipe": setting.recipe.model_dump(mode="json"),
        "pair": setting.pair.manifest["version"] if setting.pair else None,
        "preset": (setting.cohort.manifest.get("options") or {}).get("preset"),
        "seeds": [setting.recipe.seed + seed for seed in range(setting.seeds)],
        "resamples": setting.resamples,
        "confidence": CONFIDENCE,
        "hardware": hardware(),
        "threads": torch.get_num_threads(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "versions": {
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in PACKAGES},
        },
    }
