"""The linear path: what it reads, what it adds, and that it is absent unless asked for."""

import numpy as np
import torch

from engine.config import Recipe
from engine.records.vocabulary import Vocabulary
from engine.student import inference
from engine.student.model import Student
from engine.student.packed import pack
from tests.visits import make_visit

OLDEST = make_visit(visit_id="8", diagnoses=("10:I10",), procedures=(), medications=("C03C",))
EMPTY = make_visit(visit_id="9", diagnoses=("10:I5021", "10:I10"), procedures=(), medications=())
FIRST = make_visit()
RETURNING = make_visit(visit_id="12", procedures=(), history=(OLDEST, EMPTY))
VISITS = [FIRST, RETURNING, make_visit(visit_id="13", diagnoses=("10:Z999",), history=(OLDEST,))]
VOCABULARY = Vocabulary.from_visits([FIRST, RETURNING])


def recipe(**student) -> Recipe:
    options = {"hidden_size": 16, "heads": 2, "linear_path": True} | student
    return Recipe.model_validate({"name": "t", "student": options})


def untrained(**student) -> Student:
    torch.manual_seed(1)
    return Student.sized_for(VOCABULARY, recipe(**student), teacher_hidden_size=8).eval()


def added(student: Student, visits) -> np.ndarray:
    """What the path adds to the logits of each visit."""
    with torch.inference_mode():
        return student.linear_path(pack(visits, VOCABULARY, 8, recipe().prompt.profile)).numpy()


def set_weight(weights: torch.nn.Module, entry: int, value: float) -> None:
    with torch.no_grad():
        weights.weight[entry + 1] = value


def test_it_adds_nothing_until_it_is_trained():
    np.testing.assert_array_equal(
        inference.predict(untrained(), VISITS, VOCABULARY, recipe()),
        inference.predict(untrained(linear_path=False), VISITS, VOCABULARY, recipe()),
    )


def test_a_student_without_it_has_none_of_its_weights():
    names = untrained(linear_path=False).state_dict()
    assert not any("linear_path" in name for name in names)


def test_each_part_reads_what_it_is_named_for():
    student = untrained()
    path = student.linear_path
    hypertension = VOCABULARY.diagnosis_index("10:I10")
    diuretic = VOCABULARY.medication_index("C03C")
    set_weight(path.diagnoses, hypertension, 1.0)
    set_weight(path.procedures, VOCABULARY.procedure_index("10:02HV33Z"), 10.0)
    set_weight(path.past_diagnoses, hypertension, 100.0)
    set_weight(path.previous, diuretic, 1000.0)
    set_weight(path.ever, diuretic, 10000.0)
    # The returning patient had hypertension in two earlier visits, which counts once, and the
    # diuretic in the older one: the visit after it has no medication on record.
    assert added(student, VISITS)[:, 0].tolist() == [11.0, 11101.0, 11110.0]


def test_the_previous_medications_are_those_of_the_latest_visit_with_any():
    student = untrained()
    set_weight(student.linear_path.previous, VOCABULARY.medication_index("C03C"), 1.0)
    set_weight(student.linear_path.previous, VOCABULARY.medication_index("A02B"), 10.0)
    later = make_visit(visit_id="10", medications=("A02B",))
    visits = [
        make_visit(history=(OLDEST, later)),
        make_visit(history=(later, OLDEST)),
        make_visit(history=(later, OLDEST, EMPTY)),
    ]
    assert added(student, visits)[:, 0].tolist() == [10.0, 1.0, 1.0]


def test_the_unknown_entry_has_a_weight_of_its_own_and_padding_has_none():
    student = untrained()
    set_weight(student.linear_path.diagnoses, 0, 1.0)
    assert added(student, VISITS)[:, 0].tolist() == [0.0, 0.0, 1.0]


def test_the_profile_counts():
    student = untrained()
    field = list(recipe().prompt.profile).index("sex")
    with torch.no_grad():
        student.linear_path.profile[field].weight[VOCABULARY.profile_index("sex", "F")] = 2.0
    assert added(student, [make_visit(), make_visit(sex=None)])[:, 0].tolist() == [2.0, 0.0]


def test_a_batch_answers_as_one_by_one_and_never_sees_the_visits_own_medications():
    student = untrained()
    with torch.no_grad():
        for weights in student.linear_path.parameters():
            weights.normal_()
    student.linear_path.requires_grad_(False)
    together = inference.predict(student, VISITS, VOCABULARY, recipe())
    alone = [inference.predict(student, [visit], VOCABULARY, recipe())[0] for visit in VISITS]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-4)
    np.testing.assert_array_equal(
        added(student, [FIRST]), added(student, [make_visit(medications=("C03C",))])
    )


def test_it_is_saved_with_the_student(tmp_path):
    student = untrained()
    set_weight(student.linear_path.diagnoses, 1, 3.0)
    inference.save(student, tmp_path / "student.safetensors")
    again = inference.load(tmp_path / "student.safetensors", VOCABULARY, recipe())
    np.testing.assert_array_equal(
        inference.predict(inference.ready(student), VISITS, VOCABULARY, recipe()),
        inference.predict(again, VISITS, VOCABULARY, recipe()),
    )
