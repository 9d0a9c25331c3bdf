import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from engine.evaluation.metrics import METRICS, average_precision, visit_metrics
from engine.records.labels import label_matrix


def rows(*values):
    return np.array(values, dtype=bool)


def test_golden_values_worked_by_hand():
    truth = rows([1, 1, 0, 0])
    selected = rows([1, 0, 1, 0])
    probability = np.array([[0.9, 0.4, 0.6, 0.1]])
    found = visit_metrics(truth, probability, selected)
    assert list(found) == list(METRICS)
    assert found["jaccard"] == pytest.approx([1 / 3])
    assert found["precision"] == pytest.approx([1 / 2])
    assert found["recall"] == pytest.approx([1 / 2])
    assert found["f1"] == pytest.approx([1 / 2])
    assert found["prauc"] == pytest.approx([(1 / 1 + 2 / 3) / 2])
    assert found["medications"] == pytest.approx([2])


def test_groups_outside_the_vocabulary_count_as_missed():
    truth = rows([1, 1, 0, 0])
    selected = rows([1, 0, 1, 0])
    probability = np.array([[0.9, 0.4, 0.6, 0.1]])
    found = visit_metrics(truth, probability, selected, missing=np.array([2]))
    assert found["jaccard"] == pytest.approx([1 / 5])
    assert found["precision"] == pytest.approx([1 / 2])
    assert found["recall"] == pytest.approx([1 / 4])
    assert found["f1"] == pytest.approx([2 / 6])
    assert found["prauc"] == pytest.approx([(1 / 1 + 2 / 3) / 4])


@pytest.mark.parametrize(
    ("truth", "selected", "missing", "agreement"),
    [
        ([0, 0], [0, 0], 0, 1),  # nothing to give, nothing proposed
        ([0, 0], [1, 0], 0, 0),
        ([1, 0], [0, 0], 0, 0),
        ([0, 0], [0, 0], 3, 0),  # everything given lies outside the vocabulary
    ],
)
def test_empty_sets_have_a_value(truth, selected, missing, agreement):
    found = visit_metrics(rows(truth), np.array([[0.5, 0.5]]), rows(selected), np.array([missing]))
    for metric in ("jaccard", "f1", "precision", "recall"):
        assert found[metric] == [agreement], metric
    assert np.isfinite(found["prauc"]).all()


def test_average_precision_without_a_positive_is_zero():
    assert average_precision(rows([0, 0, 0]), np.array([[0.3, 0.2, 0.1]])) == [0]


@pytest.mark.parametrize("levels", [2, 5, 1000])  # few levels: many ties
def test_average_precision_equals_scikit_learn(levels):
    generator = np.random.default_rng(levels)
    truth = generator.random((200, 40)) < 0.2
    truth[:, 0] = True
    probability = generator.integers(levels, size=truth.shape) / levels
    expected = [average_precision_score(*row) for row in zip(truth, probability, strict=True)]
    assert average_precision(truth, probability) == pytest.approx(expected, abs=1e-12)


def test_no_visits_give_empty_arrays():
    nothing = np.zeros((0, 5))
    found = visit_metrics(nothing, nothing, nothing, np.zeros(0, dtype=int))
    assert all(values.shape == (0,) for values in found.values())


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="one shape"):
        visit_metrics(rows([1, 0]), np.zeros((1, 3)), rows([1, 0]))
    with pytest.raises(ValueError, match="not a number"):
        average_precision(rows([1, 0]), np.array([[np.nan, 0.1]]))


def test_label_matrix_marks_known_groups_and_counts_the_others(make_visit, vocabulary):
    visits = [make_visit("p", medications=("A02B", "Z99Z")), make_visit("q", medications=())]
    truth, missing = label_matrix(visits, vocabulary)
    assert truth.tolist() == [[True, False, False, False], [False] * 4]
    assert missing.tolist() == [1, 0]
