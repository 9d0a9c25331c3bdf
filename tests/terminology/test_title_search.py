"""Titles are found by words as they are typed: what the models know first, codes as well."""

from engine.terminology import icd
from engine.terminology.title_search import MOST_RANKED, search


def titles(kind, text, **options):
    return [icd.title(kind, code).lower() for code in search(kind, text, **options).codes]


def test_every_word_counts_as_far_as_it_is_typed():
    found = titles("diagnosis", "fail heart")
    assert found and all("heart" in title and "fail" in title for title in found)
    assert "10:I675" in search("diagnosis", "MOYAmoya").codes


def test_words_are_found_at_their_beginning_alone():
    assert search("diagnosis", "oyamoya").total == 0


def test_diagnoses_and_procedures_stay_apart():
    assert search("procedure", "moyamoya").total == 0
    assert search("procedure", "bypass").total > 100


def test_a_code_is_found_however_it_is_written():
    for written in ("I50.21", "i5021"):
        assert search("diagnosis", written).codes[0] == "10:I5021"
    assert all(code.startswith("10:I50") for code in search("diagnosis", "I50").codes)


def test_what_the_models_know_comes_first_and_what_is_chosen_not_at_all():
    best, second = search("diagnosis", "heart failure").codes[:2]
    assert search("diagnosis", "heart failure", known=[second]).codes[0] == second
    assert best not in search("diagnosis", "heart failure", without=[best]).codes


def test_retired_codes_are_found_like_those_of_today():
    retired = set(icd.titles("diagnosis")) - set(icd.codes("diagnosis"))
    code = min(retired)
    assert code in search("diagnosis", code.partition(":")[2]).codes


def test_of_a_common_word_the_shortest_titles_are_given():
    found = search("diagnosis", "of", limit=5)
    assert (len(found.codes), found.total) == (5, MOST_RANKED)


def test_nothing_typed_finds_nothing():
    assert search("diagnosis", " .,- ").codes == ()
    assert search("diagnosis", "ß" * 10_000).total == 0
