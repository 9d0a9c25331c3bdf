"""The report of an evaluation: every model, every group of visits, with intervals and pairs.

The layout of the JSON, in which a value of a group without visits is null:

    models.<model>.<group>.<metric>   {mean, low, high}
    paired[]                          {a, b, group, metric, difference, low, high}; a minus b
    thresholds.<model>                the probability from which the model recommends a group
    counts.<group>                    {visits, patients, medications, prescribed,
                                      outside_vocabulary, interaction_rate}: medications is the
                                      true mean a visit, prescribed the number of true groups, of
                                      which outside_vocabulary cannot be named by any model, and
                                      interaction_rate that of the true prescriptions
    reliability.<model>               [{from, to, pairs, predicted, observed}], of all visits: bins
                                      of the models in `PROBABILISTIC`
    prediction_sets.<model>           {coverage, patients, groups}: the share promised, how many
                                      patients it was set on, and what came of it:
        .groups.<group>               {held, size}, each {mean, low, high}: the share of the given
                                      groups in the set, averaged over patients (each by the mean
                                      of their visits), and how many groups a visit's set has
    settings                          {seed, resamples, confidence, fingerprint, interactions}: the
                                      last names the source of the interaction rates
"""

from collections.abc import Iterable, Mapping

import numpy as np

from engine.evaluation.bootstrap import CONFIDENCE, RESAMPLES, PatientBootstrap
from engine.evaluation.calibration import expected_calibration_error
from engine.evaluation.conformal import SetRule, share_held
from engine.evaluation.interactions import interaction_rate, source
from engine.evaluation.metrics import visit_metrics
from engine.evaluation.reliability import reliability_bins
from engine.records.labels import label_matrix
from engine.records.schema import Visit
from engine.records.vocabulary import Vocabulary

MODELS = {
    "teacher": "Teacher",
    "student": "Student",
    "student_undistilled": "Student, not distilled",
    "most_frequent": "Most frequent k",
    "copy_previous": "Copy previous visit",
    "logistic_regression": "Logistic regression",
}
GROUPS = {"overall": "Overall", "first_visit": "First visits", "returning": "Returning patients"}
METRIC_TITLES = {
    "jaccard": "Jaccard",
    "prauc": "PRAUC",
    "f1": "F1",
    "medications": "Medications",
    "interaction_rate": "Interaction rate",
}
AS_PRESCRIBED = ("medications", "interaction_rate")  # measured of the true prescriptions as well
BASELINES = ("most_frequent", "copy_previous", "logistic_regression")
PAIRS = (
    ("teacher", "student"),
    ("student", "student_undistilled"),
    *(("teacher", baseline) for baseline in BASELINES),
    *(("student", baseline) for baseline in BASELINES),
)
PAIRED_METRICS = ("jaccard", "prauc", "f1")
# The other baselines rank groups by scores that do not claim to be a visit's probabilities.
PROBABILISTIC = ("teacher", "student", "student_undistilled", "logistic_regression")


def build_report(
    visits: list[Visit],
    predictions: dict[str, tuple[np.ndarray, np.ndarray]],
    vocabulary: Vocabulary,
    thresholds: dict[str, float],
    pairs: tuple[tuple[str, str], ...] = PAIRS,
    seed: int = 0,
    resamples: int = RESAMPLES,
    fingerprint: str | None = None,
    logits: Mapping[str, np.ndarray] | None = None,
    set_rules: Mapping[str, SetRule | None] | None = None,
) -> dict:
    """Return the report, ready for JSON, of models that predicted the same N labelled visits.

    `predictions` maps each of `MODELS` to its probability (N, L) and selection (N, L) over the
    L groups of the vocabulary; pairs of which one model is absent are left out. `fingerprint`
    names the cohort the visits come from. `logits`, (N, L), of the models that have them rank the
    groups in place of the probabilities, which calibration may make equal; a model with a rule in
    `set_rules` is measured by its prediction sets too, and needs them. Raises ValueError on a
    model that is none of `MODELS`.
    """
    predictions = {model: predictions[model] for model in _in_order(predictions)}
    truth, missing = label_matrix(visits, vocabulary)
    patients = np.array([visit.patient_id for visit in visits])
    first = np.array([visit.is_first for visit in visits], dtype=bool)
    masks = {"overall": np.ones_like(first), "first_visit": first, "returning": ~first}
    bootstraps = {
        group: PatientBootstrap(patients[mask], resamples, seed) for group, mask in masks.items()
    }
    logits = logits or {}
    values = {
        model: visit_metrics(truth, probability, selected, missing, logits.get(model))
        | {"interaction_rate": interaction_rate(selected, vocabulary)}
        for model, (probability, selected) in predictions.items()
    }

    models = {
        model: {
            group: {
                metric: bootstraps[group].interval(value[mask])
                for metric, value in values[model].items()
            }
            for group, mask in masks.items()
        }
        for model in predictions
    }
    for model in models.keys() & set(PROBABILISTIC):
        for group, mask in masks.items():
            error = expected_calibration_error(predictions[model][0][mask], truth[mask])
            # No interval: resampling inflates this error, so a percentile interval misleads.
            point = {"mean": error, "low": None, "high": None}
            models[model][group]["expected_calibration_error"] = point

    paired = [
        {"a": a, "b": b, "group": group, "metric": metric}
        | bootstraps[group].paired_difference(values[a][metric][mask], values[b][metric][mask])
        for a, b in pairs
        if a in values and b in values
        for group, mask in masks.items()
        for metric in PAIRED_METRICS
    ]
    prescribed = truth.sum(axis=1) + missing
    true_rate = interaction_rate(truth, vocabulary)
    counts = {
        group: {
            "visits": bootstraps[group].visits,
            "patients": bootstraps[group].patients,
            "medications": float(prescribed[mask].mean()) if mask.any() else None,
            "prescribed": int(prescribed[mask].sum()),
            "outside_vocabulary": int(missing[mask].sum()),
            "interaction_rate": float(true_rate[mask].mean()) if mask.any() else None,
        }
        for group, mask in masks.items()
    }
    settings = {
        "seed": seed,
        "resamples": resamples,
        "confidence": CONFIDENCE,
        "fingerprint": fingerprint,
        "interactions": source(vocabulary),
    }
    return {
        "models": models,
        "thresholds": {model: float(value) for model, value in thresholds.items()},
        "counts": counts,
        "paired": paired,
        "reliability": {
            model: reliability_bins(predictions[model][0], truth)
            for model in predictions
            if model in PROBABILISTIC
        },
        "prediction_sets": {
            model: _measured_sets(rule, logits[model], truth, missing, masks, bootstraps)
            for model, rule in (set_rules or {}).items()
            if model in predictions and rule is not None
        },
        "settings": settings,
    }


def _measured_sets(rule: SetRule, logits, truth, missing, masks, bootstraps) -> dict:
    """Return what became of a model's promise on these visits."""
    sets = rule.sets(logits)
    held, size = share_held(sets, truth, missing), sets.sum(axis=1)
    groups = {
        group: {
            "held": bootstraps[group].interval_of_patients(held[mask]),
            "size": bootstraps[group].interval(size[mask]),
        }
        for group, mask in masks.items()
    }
    return {"coverage": rule.coverage, "patients": rule.patients, "groups": groups}


def _in_order(models: Iterable[str]) -> list[str]:
    return sorted(models, key=list(MODELS).index)


def as_markdown(report: dict) -> str:
    """Return the report as Markdown: a table a metric, the paired differences, what was counted."""
    parts = [
        _metric_table(report, metric)
        for metric in METRIC_TITLES
        if all(metric in groups["overall"] for groups in report["models"].values())
    ]  # older reports have no interaction rate
    if report["paired"]:
        parts.append(_paired_table(report))
    parts.append(_calibration_table(report))
    if report.get("prediction_sets"):  # older reports have none
        parts.append(_set_table(report))
    return "\n\n".join([*parts, _footnote(report)]) + "\n"


def _metric_table(report: dict, metric: str) -> str:
    rows = [
        [MODELS[model]] + [_interval(groups[group][metric], metric, "mean") for group in GROUPS]
        for model, groups in report["models"].items()
    ]
    if metric in AS_PRESCRIBED:
        true_means = [report["counts"][group][metric] for group in GROUPS]
        rows.append(["As prescribed", *(_number(mean, metric) for mean in true_means)])
    return _table([METRIC_TITLES[metric], *GROUPS.values()], rows)


def _paired_table(report: dict) -> str:
    found = {(row["a"], row["b"], row["group"], row["metric"]): row for row in report["paired"]}
    pairs = dict.fromkeys((row["a"], row["b"]) for row in report["paired"])
    rows = [
        [f"{MODELS[a]} − {MODELS[b].lower()}"]
        + [
            _interval(found[a, b, "overall", metric], metric, "difference")
            for metric in PAIRED_METRICS
        ]
        for a, b in pairs
    ]
    titles = [METRIC_TITLES[metric] for metric in PAIRED_METRICS]
    return _table(["Paired difference, overall", *titles], rows)


def _calibration_table(report: dict) -> str:
    """One row a model whose scores claim to be probabilities."""
    metric = "expected_calibration_error"
    rows = [
        [MODELS[model]] + [_interval(groups[group][metric], metric, "mean") for group in GROUPS]
        for model, groups in report["models"].items()
        if metric in groups["overall"]
    ]
    return _table(["Expected calibration error", *GROUPS.values()], rows)


def _set_table(report: dict) -> str:
    rows = []
    for model, measured in report["prediction_sets"].items():
        for part, title, metric in (
            ("held", f"{measured['coverage']:.0%} set, share held", "jaccard"),
            ("size", "groups in the set", "medications"),
        ):
            found = measured["groups"]
            rows.append(
                [f"{MODELS[model]}: {title}"]
                + [_interval(found[group][part], metric, "mean") for group in GROUPS]
            )
    return _table(["Prediction set", *GROUPS.values()], rows)


def _footnote(report: dict) -> str:
    counts, settings = report["counts"], report["settings"]
    sizes = "; ".join(
        f"{title.lower()}: {counts[group]['visits']:,} visits of "
        f"{counts[group]['patients']:,} patients"
        for group, title in GROUPS.items()
    )
    everyone = counts["overall"]
    return (
        f"{sizes[0].upper()}{sizes[1:]}. Of {everyone['prescribed']:,} prescribed groups, "
        f"{everyone['outside_vocabulary']:,} lie outside the vocabulary and count as missed. In "
        f"brackets: {settings['confidence']:.0%} interval from {settings['resamples']:,} "
        "resamples of patients."
        + (f" Interaction rates: {known}." if (known := settings.get("interactions")) else "")
    )


def _interval(value: dict, metric: str, key: str) -> str:
    """Return `0.512 (0.498–0.525)`, or for a difference `+0.014 (−0.002 to +0.030)`."""
    signed = key == "difference"
    middle = _number(value[key], metric, signed)
    if value["low"] is None:
        return middle
    low, high = (_number(value[end], metric, signed) for end in ("low", "high"))
    return f"{middle} ({low}{' to ' if signed else '–'}{high})"


def _number(value: float | None, metric: str, signed: bool = False) -> str:
    if value is None:
        return "not measured"
    digits = {"medications": 1, "interaction_rate": 4}.get(metric, 3)
    # z: what rounds to zero is never written as minus zero.
    return f"{value:{'+' if signed else ''}z.{digits}f}".replace("-", "−")


def _table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table with padded cells: names to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(cells: list[str]) -> str:
        numbers = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
        return "| " + " | ".join([cells[0].ljust(widths[0]), *numbers]) + " |"

    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (w + 1) + ":" for w in widths[1:])]) + "|"
    return "\n".join([line(header), rule, *map(line, rows)])
