import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from engine.errors import WorkbenchError
from engine.evaluation.baselines import (
    CopyPrevious,
    LogisticRegressionBaseline,
    MostFrequent,
    fit_logistic,
)
from engine.evaluation.metrics import average_precision


@pytest.fixture
def cohort(make_visit):
    """Training: B01A always, A02B and C07A in half, N02B never. Validation: two groups each."""
    train = [
        make_visit("a", ("A02B", "B01A")),
        make_visit("b", ("B01A", "C07A")),
        make_visit("c", ("A02B", "B01A")),
        make_visit("d", ("B01A",)),
    ]
    validation = [make_visit("e", ("A02B", "B01A")), make_visit("f", ("A02B", "B01A"))]
    return train, validation


def test_most_frequent_chooses_k_on_validation(cohort, vocabulary, make_visit):
    model = MostFrequent().fit(*cohort, vocabulary)
    probability, selected = model.predict([make_visit("x"), make_visit("y")])
    assert model.k == 2
    assert probability.tolist() == [[0.5, 1.0, 0.25, 0.0]] * 2
    assert selected.tolist() == [[True, True, False, False]] * 2


def test_copy_previous_takes_the_latest_visit_with_medications(cohort, vocabulary, make_visit):
    oldest = make_visit("x", ("A02B",))
    latest = make_visit("x", ("C07A", "N02B", "Z99Z"))  # Z99Z: outside the vocabulary
    unmedicated = make_visit("x")
    visit = make_visit("x", ("C07A",), history=(oldest, latest, unmedicated))
    score, selected = CopyPrevious().fit(*cohort, vocabulary).predict([visit])
    assert selected.tolist() == [[False, False, True, True]]
    # Copied groups lead, each part in the order of training frequency.
    assert np.argsort(-score[0]).tolist() == [2, 3, 1, 0]
    assert average_precision(selected, score) == [1]


def test_copy_previous_falls_back_to_the_most_frequent(cohort, vocabulary, make_visit):
    first = make_visit("x")
    nothing_to_copy = make_visit("y", history=(make_visit("y"),))
    returning = make_visit("z", history=(make_visit("z", ("N02B",)),))
    _, selected = (
        CopyPrevious().fit(*cohort, vocabulary).predict([first, returning, nothing_to_copy])
    )
    frequent = [True, True, False, False]
    assert selected.tolist() == [frequent, [False, False, False, True], frequent]


def test_logistic_regression_reads_diagnoses_and_history(vocabulary, make_visit):
    def patient(number, diabetic, had_analgesic):
        earlier = (make_visit(f"{number}", ("N02B",)),) if had_analgesic else ()
        given = ["B01A"] + ["A02B"] * diabetic + ["N02B"] * had_analgesic
        diagnosis = "10:E119" if diabetic else "10:I10"
        return make_visit(f"{number}", given, (diagnosis,), earlier)

    visits = [patient(number, number % 2, number % 3 == 0) for number in range(60)]
    model = LogisticRegressionBaseline().fit(visits[:40], visits[40:], vocabulary)
    probability, selected = model.predict(
        [
            patient(90, True, False),
            patient(91, False, True),
            make_visit("q", (), ("10:UNSEEN",), sex=None, age=None),
        ]
    )
    assert selected[0].tolist() == [True, True, False, False]
    assert selected[1].tolist() == [False, True, False, True]
    assert ((probability >= 0) & (probability <= 1)).all()
    assert (probability[:, 2] < 0.05).all()  # C07A: never in training, only its prior
    assert (selected == (probability >= model.threshold)).all()
    assert [part.shape for part in model.predict([])] == [(0, 4), (0, 4)]


def test_the_joint_problem_equals_scikit_learn_label_by_label():
    generator = np.random.default_rng(5)
    inputs = (generator.random((300, 12)) < 0.3).astype(float)
    targets = inputs @ generator.normal(size=(12, 3)) + generator.normal(size=(300, 3)) > 0
    weights = fit_logistic(csr_matrix(inputs), targets, strength=0.3)
    for label in range(3):
        reference = LogisticRegression(C=0.3, tol=1e-8).fit(inputs, targets[:, label])
        assert weights[:-1, label] == pytest.approx(reference.coef_[0], abs=0.02)
        assert weights[-1, label] == pytest.approx(reference.intercept_[0], abs=0.02)


@pytest.mark.parametrize("model", [MostFrequent, CopyPrevious, LogisticRegressionBaseline])
def test_an_empty_part_is_named(model, cohort, vocabulary):
    train, validation = cohort
    with pytest.raises(WorkbenchError, match="training part"):
        model().fit([], validation, vocabulary)
    with pytest.raises(WorkbenchError, match="validation part"):
        model().fit(train, [], vocabulary)
