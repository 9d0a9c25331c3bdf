"""The questions of the LEADER paper (arXiv 2402.02803, section 4), asked of a cohort.

    study(Setting(cohort, recipe, output, pair))

    rq1   how teacher, student and every baseline compare
    rq2   what each piece of the method is worth (ablations)
    rq3   how the weights of distillation (alpha) and alignment (beta) matter
    rq4   what each model costs: parameters, memory, latency
    rq5   what levers beyond the paper give, and what fewer interactions cost

Every model is a part of its own (`engine.jobs.study_parts`): a study that was stopped goes on where
it was, and what did not change is not computed again.
"""

import importlib.metadata
import platform
from collections.abc import Callable
from datetime import UTC, datetime

import torch
from tqdm import tqdm

from engine.errors import WorkbenchError
from engine.evaluation.bootstrap import CONFIDENCE
from engine.jobs.pipeline import hardware
from engine.jobs.study_measures import Yardstick
from engine.jobs.study_models import Workshop, prediction
from engine.jobs.study_parts import Outcome, Part, Parts, sole_study
from engine.jobs.study_plan import Plan, Setting, with_needs
from engine.jobs.study_questions import compared_pairs, make_plan
from engine.jobs.study_workers import compute_all, order_of
from engine.teacher import base_model

DRAWN_RELIABILITY = ("teacher", "student", "student_undistilled")
PACKAGES = ("torch", "transformers", "peft", "numpy", "scikit-learn")
Say = Callable[[str], None]


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
        outcomes = _outcomes(setting, parts, plan, say)
        return _report(setting, workshop, plan, outcomes)


def _outcomes(setting: Setting, parts: Parts, plan: Plan, say: Say) -> dict[str, Outcome]:
    """Return part → outcome, kept or computed now; what others need, and then several at once."""
    outcomes = _kept(parts, plan.parts())
    left = with_needs(part for name, part in plan.parts().items() if name not in outcomes)
    outcomes |= _kept(parts, left)
    left = {name: part for name, part in left.items() if name not in outcomes}
    for name in outcomes:
        say(f"{name}: kept")
    total = len(outcomes) + len(left)
    with tqdm(total=total, initial=len(outcomes), desc="study", unit="part") as bar:

        def done(part: Part) -> None:
            outcomes[part.name] = parts.get(part)
            say(f"{part.name}: {outcomes[part.name].facts['seconds']:,.0f} s")
            bar.update()

        def now(names: list[str]) -> None:
            bar.set_postfix_str(", ".join(names))

        alone = [part for part in left.values() if part.alone or setting.workers == 1]
        for part in alone:
            now([part.name])
            done(part)
        at_once = [part for part in left.values() if part not in alone]
        failed = compute_all(order_of(setting), at_once, setting.workers, done, now)
    if failed:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise WorkbenchError(
            f"{setting.output}: {len(failed)} of {total} parts could not be computed "
            f"({reasons}); the rest is kept, start the same command again"
        )
    return outcomes


def _kept(parts: Parts, named: dict[str, Part]) -> dict[str, Outcome]:
    return {name: kept for name, part in named.items() if (kept := parts.kept(part))}


def check(setting: Setting) -> None:
    """Refuse a study whose pieces do not belong together."""
    cohort = setting.cohort
    for option in ("seeds", "grid_seeds", "workers"):
        value = getattr(setting, option)
        if value is not None and value < 1:
            raise WorkbenchError(f"--{option.replace('_', '-')} {value}: expected 1 or more")
    preset = (cohort.manifest.get("options") or {}).get("preset")
    if setting.preset and preset != setting.preset:
        raise WorkbenchError(
            f"{cohort.folder}: was not ingested with --preset {setting.preset}; "
            f"ingest it again with that option, or leave --preset out here"
        )
    pair = setting.pair
    if pair is None:
        base_model.resolve(setting.recipe.teacher.base_model)  # before hours of other models
    elif pair.vocabulary.to_dict() != cohort.vocabulary.to_dict():
        raise WorkbenchError(
            f"{pair.folder}: was trained on another cohort than {cohort.folder}; name --recipe "
            "without --models to train a teacher on it, or --folds 5 to adapt this pair to it"
        )


def _report(setting: Setting, workshop: Workshop, plan: Plan, outcomes: dict) -> dict:
    yardstick = Yardstick(workshop.test, workshop.training, workshop.vocabulary, setting.resamples)
    models, values, reliability = {}, {}, {}
    for name, (title, some, claims) in plan.models.items():
        predictions = [prediction(outcomes[part.name], claims) for part in some]
        values[name] = yardstick.values(predictions)
        models[name] = {
            "title": title,
            "groups": yardstick.summary(predictions, values[name]),
            "runs": [outcomes[part.name].facts for part in some],
        }
        if name in DRAWN_RELIABILITY:
            reliability[name] = yardstick.reliability(predictions)
    questions = plan.questions
    for question, pairs in compared_pairs(plan).items():
        questions[question]["paired"] = [
            row for a, b in pairs for row in yardstick.paired(a, b, values)
        ]
    return {
        "questions": questions,
        "models": models,
        "reliability": reliability,
        "counts": yardstick.counts(),
        "interactions": yardstick.interactions(),
        "not_measured": plan.not_measured,
        "settings": settings_of(setting),
    }


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
        "workers": setting.workers,
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
