"""Every choice of an ingest is told in words, and in the command that makes the cohort again."""

import argparse

import pytest

from engine.cli.ingest import add_parser, chosen
from engine.records import quality_choices, quality_findings, quality_report
from engine.records.options import PRESETS, IngestOptions

CHOICES = [
    (IngestOptions(split_seed=7), "split seed 7"),
    (IngestOptions(split_seed=-7), "split seed -7"),
    (IngestOptions(first_day=True), "within 24 hours of admission"),
    (IngestOptions(min_visits=3), "fewer than 3 admissions"),
    (IngestOptions(min_count={"procedures": 4}), "procedure codes holds only those of at least 4"),
    (IngestOptions(top_k={"medications": 1200}), "groups holds only the 1,200 most frequent"),
    (IngestOptions(profile_off=("age_band", "marital_status")), "age, marital status"),
    (IngestOptions(icd10=True), "translated to ICD-10"),
    (PRESETS["paper"], "the start was the preset paper; patients with fewer than 2"),
]


def parsed(arguments: list[str]) -> IngestOptions:
    """The options that `engine ingest` reads from these arguments."""
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    return chosen(parser.parse_args(["ingest", "mimic-iv", "in", "out", *arguments]))


@pytest.mark.parametrize(("options", "words"), CHOICES)
def test_every_choice_is_told_in_words_and_made_again(options, words):
    plain = options.to_dict()
    assert words in "; ".join(quality_choices.sentences(plain))
    assert parsed(quality_choices.arguments(plain)).to_dict() == plain


def test_a_preset_with_other_choices_is_made_again():
    given = [
        "--preset",
        "paper",
        "--min-visits",
        "1",
        "--top-k",
        "5",
        "--min-count",
        "procedures=2",
    ]
    options = parsed(given).to_dict()
    assert parsed(quality_choices.arguments(options)).to_dict() == options


def test_no_choice_is_no_sentence_and_no_argument():
    options = IngestOptions().to_dict()
    assert quality_choices.sentences(options) == []
    assert quality_choices.arguments(options) == []


def test_of_a_drug_map_the_sum_is_told(tmp_path):
    path = tmp_path / "map.sqlite"
    path.write_bytes(b"a map")
    options = IngestOptions(drug_map=path).to_dict()
    told = quality_choices.sentences(options)
    assert len(told) == 1 and options["drug_map"]["sha256"][:12] in told[0]
    assert quality_choices.arguments(options) == ["--drug-map", "FILE"]


def test_choices_stand_in_the_report_in_one_notice(make_cohort):
    options = IngestOptions(profile_off=("race",), top_k={"diagnoses": 3}, split_seed=2)
    facts = quality_report.read(make_cohort(options=options).folder)
    said = [n.text for n in quality_findings.notices(facts) if n.text.startswith("Chosen when")]
    assert len(said) == 1
    for words in ("only the 3 most frequent", "race", "split seed 2"):
        assert words in said[0]
    assert "only the 3 most frequent" in quality_report.html(facts)


def test_a_limit_is_told_beside_what_it_makes_unknown(make_cohort):
    facts = quality_report.read(make_cohort(options=IngestOptions(top_k={"diagnoses": 1})).folder)
    test = next(split for split in facts["splits"] if split["split"] == "test")
    test["diagnoses"] |= {"rows": 10, "unknown_rows": 4, "limited_rows": 3}
    said = [n.text for n in quality_findings.notices(facts)]
    why = "30.0\u00a0% because the vocabulary holds only the 1 most frequent, by choice"
    assert any(text.startswith("40.0\u00a0% of the diagnoses") and why in text for text in said)
    assert any("only the 1 most frequent" in s.reading for s in quality_report.sections(facts))
    test["diagnoses"]["limited_rows"] = 0  # the limit left nothing out that the test patients have
    assert not any(
        "because the vocabulary" in notice.text for notice in quality_findings.notices(facts)
    )


def test_a_preset_that_is_unknown_here_is_left_aside():
    options = IngestOptions(min_visits=2).to_dict() | {"preset": "$(touch x)"}
    assert parsed(quality_choices.arguments(options)).min_visits == 2
