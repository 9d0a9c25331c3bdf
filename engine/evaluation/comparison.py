"""A candidate pair against the champion: which is better, for whom, and how sure that is.

    report = compare(visits, candidate, champion)

Both answer the same visits, so every difference is paired, and its interval resamples patients
(`engine.evaluation.bootstrap`). The layout of the JSON:

    lines[]      {model, metric, group, candidate, champion, difference, low, high, verdict,
                 sentence, guarded}: candidate minus champion, of each of `MODELS`, `METRICS` and
                 groups; the numbers are null where a group has no visits, low and high also where
                 it has one patient; the verdict is unclear below ten, whose interval is too short
    guarded[]    {model, metric, group}: the lines that a promotion must answer for
    worse_on[]   sentences of the guarded lines whose interval shows the candidate worse
    counts       group → {title, visits, patients}
    notes[]      sentences to read beside the numbers
    settings     {seed, resamples, confidence, fingerprint}
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engine.evaluation.bootstrap import CONFIDENCE, RESAMPLES, PatientBootstrap, percentiles
from engine.evaluation.calibration import calibration_gaps, expected_calibration_error
from engine.evaluation.metrics import visit_metrics
from engine.evaluation.subgroups import (
    DEMOGRAPHICS,
    MINIMUM_PATIENTS,
    demographic_groups,
    title,
)
from engine.records.labels import label_matrix
from engine.records.schema import Visit
from engine.records.vocabulary import Vocabulary

MODELS = {"teacher": "Teacher", "student": "Student"}
CALIBRATION_ERROR = "expected_calibration_error"
METRICS = {
    "prauc": "PRAUC",
    "jaccard": "Jaccard",
    "f1": "F1",
    CALIBRATION_ERROR: "Calibration error",  # the one of which less is better
}
GUARDED_METRICS = ("prauc", "jaccard")
GUARDED_GROUPS = ("overall", "first_visit", "returning")
FIELDS = (*DEMOGRAPHICS, "language")
BETTER, UNCLEAR, WORSE = "better", "no clear difference", "worse"
NOT_MEASURED = "not measured"
_OF_GROUP = {
    "overall": "overall",
    "first_visit": "for first visits",
    "returning": "for returning patients",
}


@dataclass(frozen=True)
class Prediction:
    """What one model said of N visits, over the L medication groups of its vocabulary."""

    vocabulary: Vocabulary
    logits: np.ndarray  # float (N, L): rank the groups
    probability: np.ndarray  # float (N, L)
    selected: np.ndarray  # bool (N, L)


def compare(
    visits: Sequence[Visit],
    candidate: Mapping[str, Prediction],
    champion: Mapping[str, Prediction],
    fingerprint: str | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict:
    """Return the report, ready for JSON, of two pairs that answered the same N labelled visits.

    Both map each of `MODELS` to its prediction. Where the vocabularies differ, a group that a
    model lacks has probability 0 in it: given, it counts as missed. `fingerprint` names the
    cohort of the visits. Raises ValueError without visits.
    """
    if not visits:
        raise ValueError("no visits to compare the models on")
    patients = np.array([visit.patient_id for visit in visits])
    union = _union([*candidate.values(), *champion.values()])
    measured = {
        model: tuple(_Measured(visits, pair[model], union) for pair in (candidate, champion))
        for model in MODELS
    }
    lines, counts = [], {}
    for group, mask in _groups(visits).items():
        # One at a time: the resamples of many patients fill the memory.
        bootstrap = PatientBootstrap(patients[mask], resamples, seed)
        counts[group] = {
            "title": title(group),
            "visits": bootstrap.visits,
            "patients": bootstrap.patients,
        }
        lines += [
            _line(model, metric, group, mask, bootstrap, *measured[model])
            for model in MODELS
            for metric in METRICS
        ]
    lines.sort(key=lambda line: (_place(MODELS, line["model"]), _place(METRICS, line["metric"])))
    return {
        "lines": lines,
        "guarded": [_name(line) for line in lines if line["guarded"]],
        "worse_on": [
            f"{MODELS[line['model']]}, {METRICS[line['metric']]}: {line['sentence']}"
            for line in lines
            if line["guarded"] and line["verdict"] == WORSE
        ],
        "counts": counts,
        "notes": _notes(lines, candidate, champion),
        "settings": {
            "seed": seed,
            "resamples": resamples,
            "confidence": CONFIDENCE,
            "fingerprint": fingerprint,
        },
    }


class _Measured:
    """One model's metrics of every visit, and its part in the calibration error."""

    def __init__(self, visits: Sequence[Visit], said: Prediction, union: Vocabulary) -> None:
        truth, missing = label_matrix(visits, said.vocabulary)
        # On its own groups: what it lacks is counted as given and never retrieved.
        self.values = visit_metrics(truth, said.probability, said.selected, missing, said.logits)
        columns = [union.medication_index(group) for group in said.vocabulary.medications]
        self.probability = np.zeros((len(visits), len(union.medications)))
        self.probability[:, columns] = said.probability
        self.truth, _ = label_matrix(visits, union)


def _groups(visits: Sequence[Visit]) -> dict[str, np.ndarray]:
    first = np.array([visit.is_first for visit in visits], dtype=bool)
    general = {"overall": np.ones_like(first), "first_visit": first, "returning": ~first}
    return general | demographic_groups(visits, FIELDS)


def _union(predictions: Sequence[Prediction]) -> Vocabulary:
    groups = {group for one in predictions for group in one.vocabulary.medications}
    return Vocabulary.from_codes((), (), groups, {})


def _line(
    model: str,
    metric: str,
    group: str,
    mask: np.ndarray,
    bootstrap: PatientBootstrap,
    ours: _Measured,
    theirs: _Measured,
) -> dict:
    if metric == CALIBRATION_ERROR:
        measured = _calibration_difference(mask, bootstrap, ours, theirs)
    else:
        a, b = (one.values[metric][mask] for one in (ours, theirs))
        measured = {"candidate": _mean(a), "champion": _mean(b)}
        measured |= bootstrap.paired_difference(a, b)
    verdict = UNCLEAR
    if bootstrap.patients >= MINIMUM_PATIENTS:
        verdict = _verdict(metric, measured["low"], measured["high"])
    return {
        "model": model,
        "metric": metric,
        "group": group,
        **measured,
        "verdict": verdict,
        "sentence": sentence(group, verdict, measured, bootstrap.patients),
        "guarded": metric in GUARDED_METRICS and group in GUARDED_GROUPS,
    }


def _calibration_difference(
    mask: np.ndarray, bootstrap: PatientBootstrap, ours: _Measured, theirs: _Measured
) -> dict:
    """Return both errors and their difference, with an interval centred on it.

    Resampling inflates a calibration error, and that of a well calibrated model the most, so the
    percentiles are moved by the mean of the resamples' excess (Efron & Tibshirani, An
    Introduction to the Bootstrap, 1993, section 10.3).
    """
    ours_at, theirs_at = (
        expected_calibration_error(one.probability[mask], one.truth[mask]) for one in (ours, theirs)
    )
    measured = {"candidate": ours_at, "champion": theirs_at}
    measured |= {"difference": None, "low": None, "high": None}
    if ours_at is None:
        return measured
    measured["difference"] = ours_at - theirs_at
    if bootstrap.patients < 2:
        return measured
    drawn = _resampled_error(ours, mask, bootstrap) - _resampled_error(theirs, mask, bootstrap)
    low, high = percentiles(drawn - drawn.mean() + measured["difference"])
    return measured | {"low": low, "high": high}


def _resampled_error(one: _Measured, mask: np.ndarray, bootstrap: PatientBootstrap) -> np.ndarray:
    """Return each resample's calibration error, (resamples,)."""
    gaps = calibration_gaps(one.probability[mask], one.truth[mask])
    return np.abs(bootstrap.resampled_means(gaps)).sum(axis=1) / one.probability.shape[1]


def _place(names: Mapping[str, str], name: str) -> int:
    return list(names).index(name)


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _verdict(metric: str, low: float | None, high: float | None) -> str:
    if low is None:
        return UNCLEAR
    if metric == CALIBRATION_ERROR:  # less is better
        low, high = -high, -low
    return BETTER if low > 0 else WORSE if high < 0 else UNCLEAR


def sentence(group: str, verdict: str, measured: dict, patients: int) -> str:
    """Return the verdict in words: `worse for first visits: −0.012 [−0.020, −0.004]`."""
    whom = _OF_GROUP.get(group) or f"for {title(group).replace(':', '')}"
    if measured["difference"] is None:
        return f"{NOT_MEASURED} {whom}: no visits"
    words = f"{verdict} {whom}: {signed(measured['difference'])}"
    if measured["low"] is not None:
        words += f" [{signed(measured['low'])}, {signed(measured['high'])}]"
    if patients >= MINIMUM_PATIENTS:
        return words
    return f"{words}, of {patients} {'patient' if patients == 1 else 'patients'}: too few to tell"


def signed(value: float) -> str:
    """Return `+0.012` or `−0.012`; what rounds to zero is never minus zero."""
    return f"{value:+z.3f}".replace("-", "−")


def _name(line: dict) -> dict:
    return {part: line[part] for part in ("model", "metric", "group")}


def _notes(
    lines: list[dict], candidate: Mapping[str, Prediction], champion: Mapping[str, Prediction]
) -> list[str]:
    tested = sum(line["low"] is not None for line in lines)
    notes = [
        f"Of {tested} intervals of {CONFIDENCE:.0%} about {tested * (1 - CONFIDENCE):.0f} would "
        "leave out zero by chance alone: a single mark in a small group is a hint, no finding."
    ]
    ours, theirs = (
        {group for one in pair.values() for group in one.vocabulary.medications}
        for pair in (candidate, champion)
    )
    for name, lacks in (("candidate", theirs - ours), ("champion", ours - theirs)):
        if lacks:
            notes.append(
                f"The {name} does not know {', '.join(sorted(lacks))}, which the other does: their "
                f"probability counts as 0 in the {name}, and given they count as missed."
            )
    return notes
