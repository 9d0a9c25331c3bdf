"""Categories: a code never seen in training still has a meaning."""

import numpy as np
import pytest
import torch

from engine.config import Recipe
from engine.records.vocabulary import UNKNOWN, Vocabulary
from engine.student import inference
from engine.student.categories import Categories, category, members, parents
from engine.student.model import Student
from tests.visits import make_visit

SEEN = make_visit(diagnoses=("10:I5021", "9:4280", "10:E119"), procedures=("10:02HV33Z",))
VOCABULARY = Vocabulary.from_visits([SEEN])
RECIPE = Recipe.model_validate({"name": "t", "student": {"hidden_size": 16, "heads": 2}})


@pytest.fixture(scope="module")
def categories() -> Categories:
    return Categories.known(VOCABULARY)


@pytest.mark.parametrize(
    ("kind", "code", "expected"),
    [
        ("diagnosis", "10:I5021", "10:I50"),
        ("diagnosis", "9:4280", "9:428"),
        ("diagnosis", "9:E8788", "9:E878"),
        ("procedure", "9:3995", "9:39"),
        ("procedure", "10:02HV33Z", "10:02H"),
    ],
)
def test_the_category_of_a_code(kind, code, expected):
    assert category(kind, code) == expected


def test_members_keep_the_versions_apart():
    assert members("diagnosis", ("10:I10", "9:I10"), tables=False) == {
        "10:I10": ["10:I10"],
        "9:I10": ["9:I10"],
    }


def test_an_unseen_code_has_its_categorys_entry(categories):
    unseen = categories.diagnosis_entry("10:I5033", VOCABULARY)
    assert unseen == categories.diagnosis_entry("10:I5021", VOCABULARY)
    assert unseen > len(VOCABULARY.diagnoses)
    assert unseen != categories.diagnosis_entry("10:E1010", VOCABULARY)
    assert categories.diagnosis_entry("10:???", VOCABULARY) == UNKNOWN
    assert categories.procedure_entry("10:02H633Z", VOCABULARY) > len(VOCABULARY.procedures)


def test_a_hidden_code_is_read_as_its_category_or_as_unknown(categories):
    diagnoses, _ = parents(VOCABULARY, categories)
    known = VOCABULARY.diagnosis_index("10:I5021")
    assert diagnoses[known] == categories.diagnosis_entry("10:I5021", VOCABULARY)
    assert diagnoses[UNKNOWN] == UNKNOWN
    assert not parents(VOCABULARY, None)[0].any()


def test_unseen_codes_of_different_categories_get_different_answers_also_after_loading(
    categories, tmp_path
):
    torch.manual_seed(1)
    student = Student.sized_for(VOCABULARY, RECIPE, 8, categories)
    inference.save(student, tmp_path / "student.safetensors")
    student = inference.load(tmp_path / "student.safetensors", VOCABULARY, RECIPE)
    heart, other_heart, lung, unknown = inference.predict(
        student,
        [make_visit(diagnoses=(code,)) for code in ("10:I5033", "10:I5043", "10:J189", "10:???")],
        VOCABULARY,
        RECIPE,
    )
    np.testing.assert_allclose(heart, other_heart, atol=1e-6)
    assert np.abs(heart - lung).max() > 1e-4
    assert np.abs(heart - unknown).max() > 1e-4
