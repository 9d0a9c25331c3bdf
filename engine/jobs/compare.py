"""Let two pairs answer a cohort's test visits, and say which is better."""

from collections.abc import Callable
from pathlib import Path

from engine.errors import WorkbenchError
from engine.evaluation.comparison import MODELS, Prediction, compare
from engine.recommender import Recommender
from engine.records.cohort import Cohort
from engine.records.schema import Visit

SPLIT = "test"
Say = Callable[[str], None]


def compare_pairs(
    cohort: Cohort, candidate_folder: Path, champion_folder: Path, say: Say = print
) -> dict:
    """Return the report of `engine.evaluation.comparison`, and which pairs it is of.

    Both pairs answer the test part of the cohort, which neither has learnt from if both were
    trained on this cohort; a champion of another one is said in the notes. The pairs are opened
    one after the other, so that one teacher is in memory at a time.

    Raises WorkbenchError when a pair is damaged, or the cohort has no labelled test visits.
    """
    visits = cohort.samples(SPLIT)
    if not visits:
        raise WorkbenchError(
            f"{cohort.folder}: no labelled visits in part '{SPLIT}', so nothing to compare the "
            "models on; ingest more patients"
        )
    predictions, manifests = {}, {}
    for name, folder in (("candidate", candidate_folder), ("champion", champion_folder)):
        say(f"evaluate: the {name} answers {len(visits):,} test visits")
        recommender = Recommender.load(folder)
        manifests[name] = recommender.pair.manifest
        predictions[name] = _predictions(recommender, cohort, visits)
        del recommender  # and its teacher, before the next one is loaded
    report = compare(
        visits, predictions["candidate"], predictions["champion"], fingerprint=cohort.fingerprint
    )
    report |= {
        name: {
            "version": manifest["version"],
            "created": manifest.get("created"),
            "base_model": manifest.get("base_model"),
            "trained_on": manifest["cohort"]["fingerprint"],
        }
        for name, manifest in manifests.items()
    }
    report["notes"] = [*_acquainted(report, cohort), *report["notes"]]
    return report


def _predictions(
    recommender: Recommender, cohort: Cohort, visits: list[Visit]
) -> dict[str, Prediction]:
    logits = {
        "teacher": recommender.teacher_logits(cohort, visits),
        "student": recommender.student_logits(visits),
    }
    found = {}
    for model in MODELS:
        calibration = recommender.pair.calibration[model]
        probability = calibration.probability(logits[model])
        found[model] = Prediction(
            recommender.vocabulary, logits[model], probability, calibration.select(probability)
        )
    return found


def _acquainted(report: dict, cohort: Cohort) -> list[str]:
    """Say which pair may have learnt from these very visits."""
    return [
        f"The {name} was trained on another cohort than this one. If that cohort holds the same "
        f"patients in other parts, the {name} may have learnt from visits it is measured on here."
        for name in ("candidate", "champion")
        if report[name]["trained_on"] != cohort.fingerprint
    ]
