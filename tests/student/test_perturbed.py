"""Perturbed visits: near the real ones, never without a diagnosis, the same every time."""

from engine.student.categories import category
from engine.student.perturbed import perturbed
from tests.visits import make_visit

HEART = tuple(f"10:I50{n}" for n in (1, 20, 21, 22, 23, 30, 31, 32, 33, 9))
VISIT = make_visit(diagnoses=HEART[:5] + ("10:E119",), procedures=("10:02HV33Z",))
VISITS = [VISIT, make_visit(visit_id="12", diagnoses=("10:I10",), history=(VISIT,))]


def copies(number: int = 40, seed: int = 0):
    return perturbed(VISITS, number, (*HEART, "10:E119", "10:I10"), ("10:02HV33Z",), seed)


def test_copies_come_in_rounds_with_ids_of_their_own():
    made = copies(2)
    assert [visit.visit_id for visit in made] == ["11~0", "12~0", "11~1", "12~1"]
    assert made[1].history == VISITS[1].history
    assert made[0].age == VISIT.age


def test_codes_are_dropped_or_swapped_within_their_category():
    known = {category("diagnosis", code) for code in VISIT.diagnoses}
    made = [visit for visit in copies() if visit.visit_id.startswith("11~")]
    assert all({category("diagnosis", code) for code in visit.diagnoses} <= known for visit in made)
    assert any(len(visit.diagnoses) < len(VISIT.diagnoses) for visit in made)
    assert any(not set(visit.diagnoses) <= set(VISIT.diagnoses) for visit in made)
    assert all(len(set(visit.diagnoses)) == len(visit.diagnoses) for visit in made)


def test_a_diagnosis_always_stays():
    assert all(visit.diagnoses for visit in copies(100))


def test_the_seed_decides():
    assert copies(3) == copies(3)
    assert copies(3) != copies(3, seed=1)


def test_the_icd_tables_offer_codes_that_no_training_patient_has():
    made = perturbed([VISIT], 40, VISIT.diagnoses, (), seed=0, tables=True)
    assert not {visit.visit_id for visit in made} & {visit.visit_id for visit in copies()}
    new = {code for visit in made for code in visit.diagnoses} - set(VISIT.diagnoses)
    assert new
    assert {category("diagnosis", code) for code in new} <= {"10:I50", "10:E11"}
