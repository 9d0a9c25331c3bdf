"""Measure a pair beside the baselines on one part of a cohort."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np

from engine.errors import WorkbenchError
from engine.evaluation.baselines import CopyPrevious, LogisticRegressionBaseline, MostFrequent
from engine.evaluation.bootstrap import interval
from engine.evaluation.equity import Prediction, by_group, effect_of_leaving_out
from engine.evaluation.faithfulness import faithfulness
from engine.evaluation.metrics import jaccard
from engine.evaluation.report import build_report
from engine.files import read_json
from engine.jobs.card import render_card
from engine.jobs.pipeline import hardware
from engine.recommender import Recommender
from engine.records.cohort import Cohort
from engine.records.schema import Visit
from engine.registry.pair import METRICS, MODELS, open_pair, reseal

Split = Literal["test", "validation", "all"]


def evaluate(
    cohort: Cohort,
    models: Path,
    split: Split = "test",
    baselines_from: Cohort | None = None,
    seed: int = 0,
    thorough: bool = False,
) -> dict:
    """Return the report of `engine.evaluation.report` for a pair and the baselines.

    Beside it `demographics` (see `engine.evaluation.equity`), `agreement` (the share both models
    propose of what either does) and, where `thorough`, what
    leaving out race, language, insurance and sex changes (`left_out`, model → rows) and whether
    the student's basis is faithful (`faithfulness`).

    The baselines learn from the training part of `baselines_from`, or of `cohort` itself, and
    choose k, C and threshold on its validation part. The pair's thresholds are its own.
    """
    recommender = Recommender.load(models)
    trained_on = recommender.pair.manifest["cohort"]["fingerprint"]
    if split == "all" and trained_on == cohort.fingerprint:
        raise WorkbenchError(
            f"{cohort.folder}: this pair was trained on this cohort; measure it with --split test"
        )
    visits = cohort.samples(None if split == "all" else split)
    if not visits:
        raise WorkbenchError(
            f"{cohort.folder}: no labelled visits in part '{split}'; try --split all"
        )
    source = baselines_from or cohort
    vocabulary = recommender.vocabulary
    training, validation = source.samples("train"), source.samples("validation")
    baselines = {
        "most_frequent": MostFrequent(),
        "copy_previous": CopyPrevious(),
        "logistic_regression": LogisticRegressionBaseline(),
    }
    baseline_predictions = {
        name: baseline.fit(training, validation, vocabulary).predict(visits)
        for name, baseline in baselines.items()
    }
    logits = {
        "teacher": recommender.teacher_logits(cohort, visits),
        "student": recommender.student_logits(visits),
        "student_undistilled": recommender.student_logits(visits, distilled=False),
    }
    calibration = recommender.pair.calibration
    probabilities = {model: calibration[model].probability(logits[model]) for model in MODELS}
    predictions = {
        model: (probabilities[model], calibration[model].select(probabilities[model]))
        for model in MODELS
    } | baseline_predictions
    thresholds = {model: calibration[model].threshold for model in MODELS}
    thresholds["logistic_regression"] = baselines["logistic_regression"].threshold
    report = build_report(
        visits,
        predictions,
        vocabulary,
        thresholds,
        seed=seed,
        fingerprint=cohort.fingerprint,
        logits=logits,
        set_rules={model: calibration[model].prediction_set for model in MODELS},
    )
    pair_alone = {model: predictions[model] for model in ("teacher", "student")}
    report["demographics"] = by_group(visits, pair_alone, vocabulary, seed)
    report["agreement"] = _agreement(visits, predictions["teacher"][1], predictions["student"][1])
    if thorough:
        report |= _thorough(recommender, cohort, visits, seed)
    report["settings"] |= {
        "pair": recommender.pair.manifest["version"],
        "split": split,
        "baselines_from": source.fingerprint,
        "hardware": hardware(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }
    return report


def _agreement(visits: list[Visit], teacher: np.ndarray, student: np.ndarray) -> dict:
    """Return the share that both propose of what either proposes: {mean, low, high}."""
    patients = np.array([visit.patient_id for visit in visits])
    return interval(jaccard(teacher, student), patients)


def _thorough(
    recommender: Recommender, cohort: Cohort, visits: list[Visit], seed: int
) -> dict[str, dict]:
    """Ask the pair again with something left out; the teacher once, as it takes minutes."""

    def student(asked: Sequence[Visit]) -> Prediction:
        probability = recommender.student_probabilities(asked)
        return probability, calibration["student"].select(probability)

    def teacher(asked: Sequence[Visit]) -> Prediction:
        probability = recommender.teacher_probabilities(cohort, asked)
        return probability, calibration["teacher"].select(probability)

    calibration, vocabulary = recommender.pair.calibration, recommender.vocabulary
    try:
        faithful = asdict(
            faithfulness(
                visits,
                recommender.student_probabilities,
                recommender.thresholds["student"],
                seed=seed,
            )
        )
    except ValueError:  # too little is on record
        faithful = None
    return {
        "left_out": {
            "teacher": effect_of_leaving_out(visits, teacher, vocabulary, alone=False, seed=seed),
            "student": effect_of_leaving_out(visits, student, vocabulary, seed=seed),
        },
        "faithfulness": faithful,
    }


def keep_in_card(models: Path, name: str, report: dict) -> None:
    """Write an evaluation into the pair's metrics and card, under `name`."""
    pair = open_pair(models)
    metrics = read_json(pair.folder / METRICS, "restore the pair's folder")
    metrics.setdefault("evaluations", {})[name] = report
    reseal(pair, metrics, render_card(pair.manifest, pair.recipe, metrics))
