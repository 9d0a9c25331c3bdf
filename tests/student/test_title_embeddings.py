"""Code embeddings that start from the teacher's own embeddings of the titles."""

import pytest
import torch
from transformers import AutoTokenizer

from engine.config import Recipe
from engine.records.vocabulary import Vocabulary
from engine.student.categories import Categories
from engine.student.model import Student
from engine.student.title_embeddings import TitleReader, start_from_titles
from engine.terminology import icd
from tests.visits import make_visit

CODES = ("10:I5021", "10:I5023", "10:E119", "10:E1165", "10:J189", "10:S72001A", "9:4280")
VOCABULARY = Vocabulary.from_visits([make_visit(diagnoses=CODES)])
RECIPE = Recipe.model_validate({"name": "t", "student": {"hidden_size": 16, "heads": 2}})


@pytest.fixture(scope="module")
def reader(tiny_base) -> TitleReader:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    table = torch.randn(400, 32, generator=torch.Generator().manual_seed(3))
    return TitleReader(tokenizer, table, icd.title)


def test_a_title_is_the_mean_of_its_tokens(reader):
    ids = reader.tokenizer(icd.title("diagnosis", "10:I10"), add_special_tokens=False)["input_ids"]
    read = reader.read("diagnosis", ["10:E119", "10:I10"])
    torch.testing.assert_close(read[1], reader.embeddings[ids].mean(dim=0))
    assert reader.read("procedure", []).shape == (0, 32)


@pytest.fixture(scope="module")
def student(reader) -> Student:
    student = Student.sized_for(VOCABULARY, RECIPE, 8, Categories.known(VOCABULARY))
    start_from_titles(student, VOCABULARY, reader)
    return student


def test_codes_start_where_their_titles_are(student, reader):
    """What titles have in common survives the projection to the student's width."""
    weight = student.diagnosis_encoder.embedding.weight.detach()
    rows = weight[[VOCABULARY.diagnosis_index(code) for code in CODES]]
    titles = reader.read("diagnosis", CODES)
    near, far = torch.cdist(rows, rows)[0, [1, 5]]
    assert near < far
    truth = torch.cdist(titles, titles).flatten()
    kept = torch.corrcoef(torch.stack([truth, torch.cdist(rows, rows).flatten()]))[0, 1]
    assert kept > 0.95


def test_a_category_starts_near_its_codes(student):
    weight = student.diagnosis_encoder.embedding.weight.detach()
    unseen = weight[student.categories.diagnosis_entry("10:I5033", VOCABULARY)]
    relatives, strangers = (
        torch.stack([weight[VOCABULARY.diagnosis_index(code)] for code in codes]).mean(dim=0)
        for codes in (("10:I5021", "10:I5023"), ("10:S72001A", "10:J189"))
    )
    assert torch.dist(unseen, relatives) < torch.dist(unseen, strangers)


def test_it_is_the_same_every_time(student, reader):
    torch.manual_seed(99)
    again = Student.sized_for(VOCABULARY, RECIPE, 8, student.categories)
    start_from_titles(again, VOCABULARY, reader)
    torch.testing.assert_close(
        again.diagnosis_encoder.embedding.weight,
        student.diagnosis_encoder.embedding.weight,
        rtol=0,
        atol=0,
    )
