"""The shipped pair, on the shipped sample and on real records: what a newcomer meets first."""

import json
from pathlib import Path

import numpy as np
import pytest

from engine.evaluation.faithfulness import faithfulness
from engine.evaluation.metrics import average_precision
from engine.recommender import Recommender
from engine.records.cohort import Cohort
from engine.records.ingest import ingest
from engine.records.labels import label_matrix
from engine.registry.pair import champion_folder

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def champion() -> Recommender:
    return Recommender.load(champion_folder(ROOT / "pretrained"))


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Cohort:
    folder = tmp_path_factory.mktemp("shipped") / "sample"
    ingest(ROOT / "sample_data", folder)
    return Cohort.open(folder)


@pytest.fixture(scope="module")
def demo(demo_data, tmp_path_factory) -> Cohort:
    folder = tmp_path_factory.mktemp("shipped") / "demo"
    ingest(demo_data / "mimic-iv-demo", folder)
    return Cohort.open(folder)


def test_it_was_trained_on_the_shipped_sample(champion, sample):
    assert champion.pair.manifest["cohort"]["fingerprint"] == sample.fingerprint


def test_the_students_figure_in_the_card_can_be_reached_again(champion, sample):
    visits = sample.samples("test")
    truth, missing = label_matrix(visits, champion.vocabulary)
    prauc = average_precision(truth, champion.student_probabilities(visits), missing).mean()
    metrics = json.loads((champion.pair.folder / "metrics.json").read_text())
    report = metrics["evaluations"]["sample, test split"]
    stated = report["models"]["student"]["overall"]["prauc"]["mean"]
    assert prauc == pytest.approx(stated, abs=1e-3)
    assert f"{stated:.3f}" in (champion.pair.folder / "card.md").read_text()


def test_what_an_answer_is_said_to_rest_on_carries_it(champion, sample):
    visits = sample.samples("test")[::3]  # the card has the figure of all
    threshold = champion.thresholds["student"]
    found = faithfulness(visits, champion.student_probabilities, threshold)
    assert found.low > 0.1, "what ranks first lowers an answer far more than what chance draws"


def test_teacher_and_student_rank_what_was_given_above_the_rest(champion, sample):
    visits = sample.samples("test")[:12]
    truth, missing = label_matrix(visits, champion.vocabulary)
    for probability in (
        champion.teacher_probabilities(sample, visits),
        champion.student_probabilities(visits),
    ):
        assert average_precision(truth, probability, missing).mean() > 0.5
        given, rest = probability[truth].mean(), probability[~truth].mean()
        assert given > 3 * rest


def kinds(cohort: Cohort, champion: Recommender) -> dict:
    """One visit of each kind that a page must be able to show."""
    visits = cohort.samples()
    known = set(champion.vocabulary.diagnoses)
    return {
        "first visit": next(visit for visit in visits if visit.is_first),
        "no procedures": next(visit for visit in visits if not visit.procedures),
        "unseen codes": next(visit for visit in visits if not known.issuperset(visit.diagnoses)),
        "longest history": max(visits, key=lambda visit: len(visit.history)),
    }


@pytest.mark.parametrize(
    "kind", ["first visit", "no procedures", "unseen codes", "longest history"]
)
@pytest.mark.parametrize("name", ["sample", "demo"])
def test_every_kind_of_visit_gets_an_answer(name, kind, champion, request):
    cohort = request.getfixturevalue(name)
    visit = kinds(cohort, champion)[kind]
    recommendation = champion.recommend(cohort, visit)
    assert recommendation.rows
    probabilities = [p for row in recommendation.rows for p in (row.teacher, row.student) if p]
    assert np.isfinite(probabilities).all()
    assert champion.prompt(cohort, visit).tokens <= champion.pair.recipe.prompt.max_tokens
