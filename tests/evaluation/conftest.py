from datetime import datetime

import pytest

from engine.records.schema import Visit
from engine.records.vocabulary import Vocabulary


@pytest.fixture
def make_visit():
    """Return a function that makes a visit of a patient from what matters to the test."""

    def make(patient_id, medications=(), diagnoses=("10:I10",), history=(), sex="F", age=60):
        return Visit(
            patient_id=patient_id,
            visit_id=f"{patient_id}-{len(history)}",
            admit_time=datetime(2020, 1, 1 + len(history)),
            discharge_time=None,
            age=age,
            sex=sex,
            insurance=None,
            language=None,
            marital_status=None,
            race=None,
            religion=None,
            admission_type=None,
            diagnoses=tuple(diagnoses),
            procedures=(),
            medications=tuple(medications),
            drugs=(),
            history=tuple(history),
        )

    return make


@pytest.fixture
def vocabulary():
    """Four medication groups: A02B, B01A, C07A, N02B."""
    return Vocabulary(
        diagnoses=("10:E119", "10:I10"),
        procedures=(),
        medications=("A02B", "B01A", "C07A", "N02B"),
        profile={},
    )
