"""The plain transformer's tokens: every code once, of its type, at its place in time."""

import torch

from engine.evaluation.neural.inputs import without_answers
from engine.evaluation.neural.training import Settings
from engine.evaluation.neural.transformer import (
    DIAGNOSIS,
    MEDICATION,
    PROCEDURE,
    PROFILE,
    START,
    TransformerNetwork,
)
from engine.records.schema import PROFILE_FIELDS
from engine.records.vocabulary import Vocabulary
from engine.student.tensors import PAD, collate, encode
from tests.visits import make_visit

PAST = make_visit(diagnoses=("10:A",), procedures=(), medications=("A02B", "B01A"))
VISIT = make_visit(diagnoses=("10:B", "10:NEW"), procedures=("10:P",), history=(PAST,))
VOCABULARY = Vocabulary.from_codes(
    ("10:A", "10:B"), ("10:P",), ("A02B", "B01A"), {"sex": ("F", "M")}
)


def tokens(*visits):
    network = TransformerNetwork(VOCABULARY, Settings(size=8))
    batch = collate([encode(visit, VOCABULARY, 8, PROFILE_FIELDS) for visit in visits], 2)
    return [part.tolist() for part in network._tokens(without_answers(batch))]


def test_every_known_code_is_one_token_of_its_type_and_age():
    codes, types, ago = tokens(VISIT)
    # The table: 0 start, 1-2 diagnoses, 3 procedure, 4-5 medications, 6-7 sex.
    expected = [
        (0, START, 0),
        (1, DIAGNOSIS, 1),
        (2, DIAGNOSIS, 0),
        (3, PROCEDURE, 0),
        (4, MEDICATION, 1),
        (5, MEDICATION, 1),
        (6, PROFILE, 0),
    ]
    assert list(zip(codes[0], types[0], ago[0], strict=True)) == expected


def test_padding_stands_behind_and_is_masked():
    codes, _, _ = tokens(VISIT, make_visit(diagnoses=("10:A",), procedures=(), sex=None))
    assert codes[1] == [0, 1, PAD, PAD, PAD, PAD, PAD]


def test_codes_in_any_order_give_one_answer():
    torch.manual_seed(0)
    network = TransformerNetwork(VOCABULARY, Settings(size=8)).eval()
    answers = []
    for diagnoses in (("10:A", "10:B"), ("10:B", "10:A")):
        visit = encode(make_visit(diagnoses=diagnoses), VOCABULARY, 8, PROFILE_FIELDS)
        answers.append(network(without_answers(collate([visit], 2))))
    assert torch.allclose(*answers, atol=1e-6)
