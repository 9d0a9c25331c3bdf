"""The interaction rate of a selection and of probabilities."""

import numpy as np
import pytest

from engine.evaluation.interactions import expected_rate, interaction_rate, source
from engine.records.vocabulary import Vocabulary


@pytest.fixture
def groups():
    """A02B, B01A, C03D, C09A: only the last two interact."""
    return Vocabulary(
        diagnoses=(), procedures=(), medications=("A02B", "B01A", "C03D", "C09A"), profile={}
    )


def test_the_rate_is_the_share_of_pairs_that_interact(groups):
    selection = np.array(
        [[1, 1, 1, 1], [0, 0, 1, 1], [1, 0, 1, 1], [1, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]],
        dtype=bool,
    )
    expected = [1 / 6, 1, 1 / 3, 0, 0, 0]
    np.testing.assert_allclose(interaction_rate(selection, groups), expected)


def test_the_expected_rate_weighs_pairs_by_probability(groups):
    probability = np.array([[0.5, 0.0, 0.2, 0.4]])
    expected = 0.2 * 0.4 / (0.5 * 0.2 + 0.5 * 0.4 + 0.2 * 0.4)
    assert expected_rate(probability, groups)[0] == pytest.approx(expected)


def test_certain_probabilities_have_the_rate_of_the_selection(groups):
    selection = np.random.default_rng(0).random((50, 4)) > 0.4
    np.testing.assert_allclose(
        expected_rate(selection.astype(float), groups), interaction_rate(selection, groups)
    )


def test_a_single_group_has_no_pair_whatever_its_probability(groups):
    assert expected_rate(np.array([[0.0, 0.0, 0.3, 0.0]]), groups)[0] == 0
    assert interaction_rate(np.zeros((0, 4), dtype=bool), groups).shape == (0,)


def test_what_counts_is_a_choice_and_is_named(groups):
    both = np.array([[False, True, False, True]])
    assert interaction_rate(both, groups)[0] == 0
    assert interaction_rate(both, groups, least="moderate", share=0)[0] == 0
    assert "1 of the 6 pairs of ATC third-level groups" in source(groups)
