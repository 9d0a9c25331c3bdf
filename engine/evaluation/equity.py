"""Whom the models serve how well, and what they make of race, language, insurance and sex.

    report["demographics"] = by_group(visits, predictions, vocabulary)
    report["left_out"] = effect_of_leaving_out(visits, predict, predictions, vocabulary)

A field is left out by hiding it from a trained model at the time of answering; what a model
trained without it would do is a question for a study (RQ2, no profile).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from engine.evaluation.bootstrap import RESAMPLES, PatientBootstrap
from engine.evaluation.calibration import expected_calibration_error
from engine.evaluation.metrics import visit_metrics
from engine.evaluation.subgroups import demographic_groups
from engine.records.labels import label_matrix
from engine.records.schema import Visit
from engine.records.vocabulary import Vocabulary

FIELDS = ("sex", "age_band", "race", "language", "insurance")
SENSITIVE = ("race", "language", "insurance", "sex")
TOGETHER = "all four"
METRICS = ("prauc", "jaccard")
Prediction = tuple[np.ndarray, np.ndarray]  # (visits, groups) probabilities, and what is chosen


def by_group(
    visits: Sequence[Visit],
    predictions: Mapping[str, Prediction],
    vocabulary: Vocabulary,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict:
    """Return group → {visits, patients, models}, groups of ten patients or more.

    models.<model> has prauc and jaccard as {mean, low, high}, and calibration_error.
    """
    truth, missing = label_matrix(visits, vocabulary)
    patients = np.array([visit.patient_id for visit in visits])
    measured = {
        model: visit_metrics(truth, probability, selected, missing)
        for model, (probability, selected) in predictions.items()
    }
    found = {}
    for group, mask in demographic_groups(visits, FIELDS).items():
        bootstrap = PatientBootstrap(patients[mask], resamples, seed)
        found[group] = {
            "visits": int(mask.sum()),
            "patients": bootstrap.patients,
            "models": {
                model: {
                    **{
                        metric: bootstrap.interval(measured[model][metric][mask])
                        for metric in METRICS
                    },
                    "calibration_error": expected_calibration_error(
                        predictions[model][0][mask], truth[mask]
                    ),
                }
                for model in predictions
            },
        }
    return found


def effect_of_leaving_out(
    visits: Sequence[Visit],
    predict: Callable[[Sequence[Visit]], Prediction],
    vocabulary: Vocabulary,
    alone: bool = True,
    seed: int = 0,
) -> list[dict]:
    """Return what hiding a field changes for one model, PRAUC and Jaccard: without minus with.

    Args:
        predict: asks the model about visits, in their order.
        alone: hide each field by itself too, not only all four together.
    """
    truth, missing = label_matrix(visits, vocabulary)
    bootstrap = PatientBootstrap(np.array([visit.patient_id for visit in visits]), seed=seed)

    def measured(asked: Sequence[Visit]) -> dict[str, np.ndarray]:
        probability, selected = predict(asked)
        return visit_metrics(truth, probability, selected, missing)

    whole = measured(visits)
    fields = {name: (name,) for name in SENSITIVE} if alone else {}
    rows = []
    for name, hidden in {**fields, TOGETHER: SENSITIVE}.items():
        without = measured([hide(visit, hidden) for visit in visits])
        for metric in METRICS:
            difference = bootstrap.paired_difference(without[metric], whole[metric])
            rows.append({"field": name, "metric": metric, **difference})
    return rows


def hide(visit: Visit, fields: Sequence[str]) -> Visit:
    """Return the visit as if these profile fields were not on record, now or before."""
    nothing = dict.fromkeys(fields)
    history = tuple(replace(past, **nothing) for past in visit.history)
    return replace(visit, history=history, **nothing)
