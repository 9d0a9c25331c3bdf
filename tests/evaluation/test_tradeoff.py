"""The trade-off curve: its points, which of them are worth having, and how it is drawn."""

import json

import numpy as np
import pytest

from engine.evaluation.tradeoff import Setting, efficient, figure, measure
from engine.records.vocabulary import Vocabulary

TRUTH = np.array([[1, 1, 0], [0, 1, 1]], dtype=bool)


@pytest.fixture
def groups():
    """A02B, C03D, C09A: only the last two interact."""
    return Vocabulary(diagnoses=(), procedures=(), medications=("A02B", "C03D", "C09A"), profile={})


def point(rate: float, jaccard: float) -> dict:
    return {"interaction_rate": rate, "jaccard": jaccard, "title": f"{rate}"}


def test_a_point_holds_the_setting_and_the_means_of_its_selection(groups):
    probability = np.where(TRUTH, 0.9, 0.1)
    found = measure(Setting(10, 0.001), TRUTH, probability, TRUTH, groups)
    assert json.loads(json.dumps(found)) == found
    assert found["title"] == "weight 10, target 0.001"
    assert (found["jaccard"], found["prauc"], found["medications"]) == (1, 1, 2)
    assert found["interaction_rate"] == 0.5  # of two visits, one has the interacting pair alone
    assert measure(Setting(0), TRUTH, probability, TRUTH, groups)["target"] is None


def test_medications_outside_the_vocabulary_count_as_missed(groups):
    probability = np.where(TRUTH, 0.9, 0.1)
    found = measure(Setting(0), TRUTH, probability, TRUTH, groups, np.array([2, 2]))
    assert found["jaccard"] == 0.5


def test_only_points_that_none_beats_are_efficient():
    points = [point(0.3, 0.5), point(0.1, 0.4), point(0.2, 0.39), point(0.1, 0.3), point(0.4, 0.5)]
    assert efficient(points) == [point(0.1, 0.4), point(0.3, 0.5)]
    assert efficient([]) == []


def test_the_figure_shows_every_setting_and_the_rate_as_prescribed():
    chart = figure([point(0.1, 0.4), point(0.2, 0.39)], true_rate=0.15)
    assert list(chart.data[1].x) == [0.1, 0.2] and list(chart.data[1].text) == ["0.1", "0.2"]
    assert list(chart.data[0].x) == [0.1]
    assert chart.layout.shapes[0].x0 == 0.15
    assert chart.layout.annotations[0].text == "as prescribed"
