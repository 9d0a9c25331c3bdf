"""Groups of visits, and what was added since the previous one."""

import numpy as np

from engine.evaluation.subgroups import AddedMedications, frequent_codes, subgroups


def test_first_and_returning_part_the_visits(make_visit, vocabulary):
    first = make_visit("1", ["A02B"])
    visits = [first, make_visit("1", ["A02B"], history=[first]), make_visit("2", ["B01A"])]
    masks = subgroups(visits, visits, vocabulary)
    assert masks["first_visit"].tolist() == [True, False, True]
    assert masks["returning"].tolist() == [False, True, False]
    assert masks["overall"].all()


def test_frequent_codes_are_the_fewest_that_make_up_four_fifths(make_visit):
    training = [make_visit(str(number), diagnoses=["10:I10"]) for number in range(8)]
    training += [make_visit("9", diagnoses=["10:E119"]), make_visit("10", diagnoses=["10:Z00"])]
    assert frequent_codes(training) == {"10:I10"}
    masks = subgroups([training[0], training[8]], training, _vocabulary())
    assert masks["rare_diagnosis"].tolist() == [False, True]


def test_a_code_outside_the_vocabulary_is_unseen(make_visit, vocabulary):
    visits = [make_visit("1"), make_visit("2", diagnoses=["10:I10", "10:Q999"])]
    assert subgroups(visits, visits, vocabulary)["unseen_code"].tolist() == [False, True]


def test_small_demographic_groups_are_left_out(make_visit, vocabulary):
    visits = [make_visit(str(number), sex="F") for number in range(10)]
    visits += [make_visit(f"m{number}", sex="M") for number in range(9)]
    masks = subgroups(visits, visits, vocabulary)
    assert masks["sex: F"].sum() == 10
    assert "sex: M" not in masks


def test_copying_the_past_finds_nothing_that_was_added(make_visit, vocabulary):
    earlier = make_visit("1", ["A02B", "B01A"])
    visits = [
        make_visit("1", ["A02B", "C07A"], history=[earlier]),  # C07A was added
        make_visit("1", ["A02B"], history=[earlier]),  # nothing was
        make_visit("2", ["A02B"]),  # no visit before
    ]
    added = AddedMedications(visits, vocabulary)
    assert added.mask.tolist() == [True, False, False]
    copied = np.array([[1, 1, 0, 0]] * 3, dtype=bool)
    found = added.metrics(copied * 1.0, copied)
    assert found["jaccard"].tolist() == [0.0]
    right = np.array([[1, 0, 1, 0]] * 3, dtype=bool)
    found = added.metrics(right * 0.5, right)
    assert found["jaccard"].tolist() == found["prauc"].tolist() == [1.0]


def test_an_added_group_that_no_model_can_name_counts_as_missed(make_visit, vocabulary):
    earlier = make_visit("1", ["A02B"])
    visits = [make_visit("1", ["B01A", "Z99Z"], history=[earlier])]
    right = np.array([[0, 1, 0, 0]], dtype=bool)
    assert AddedMedications(visits, vocabulary).metrics(right * 1.0, right)["recall"] == 0.5


def _vocabulary():
    from engine.records.vocabulary import Vocabulary

    return Vocabulary(("10:E119", "10:I10"), (), ("A02B",), {})
