"""The sums that prove what was asked and answered."""

from dataclasses import replace
from types import SimpleNamespace

from engine import evidence
from tests.visits import make_visit

ROW = SimpleNamespace(atc="B01A", teacher=0.7, student=None)
SAID = SimpleNamespace(
    versions={"teacher": "t-1", "student": "s-1"}, thresholds={"teacher": 0.4}, rows=(ROW,)
)


def test_the_input_is_what_the_models_may_see_and_nothing_else():
    visit = make_visit(diagnoses=("10:I10",), medications=("B01A",))
    seen = evidence.input_hash(visit)
    assert len(seen) == 64
    assert evidence.input_hash(replace(visit, medications=("C03C",), drugs=("x",))) == seen
    assert evidence.input_hash(replace(visit, diagnoses=("10:I11",))) != seen
    past = make_visit(visit_id="0", medications=("A10A",))
    before = evidence.input_hash(replace(visit, history=(past,)))
    assert before != seen
    assert evidence.input_hash(replace(visit, history=(replace(past, medications=()),))) != before


def test_the_output_changes_with_any_answer_and_with_the_version():
    shown = evidence.output_hash(SAID)
    assert evidence.output_hash(SimpleNamespace(**vars(SAID), latency_ms={"teacher": 3})) == shown
    tiny = SimpleNamespace(**vars(ROW) | {"teacher": 0.7 + 1e-9})
    assert evidence.output_hash(SimpleNamespace(**vars(SAID) | {"rows": (tiny,)})) == shown
    for changed in (
        {"rows": (SimpleNamespace(**vars(ROW) | {"teacher": 0.71}),)},
        {"rows": (SimpleNamespace(**vars(ROW) | {"student": 0.7}),)},
        {"rows": ()},
        {"versions": {"teacher": "t-2", "student": "s-1"}},
    ):
        assert evidence.output_hash(SimpleNamespace(**vars(SAID) | changed)) != shown
