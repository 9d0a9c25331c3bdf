"""Synthetic visits in which diagnoses, procedures and the past decide the medications."""

import numpy as np

from tests.visits import make_visit

GIVEN_FOR = {"10:D0": "A02B", "10:D1": "B01A", "10:D2": "C07A", "10:D3": "N02B"}
GIVEN_AFTER = {"10:P0": "J01D", "10:P1": "N01A"}
LASTING = ("H03A", "M04A")  # once given, given at every later visit
NOISE = tuple(f"10:N{number}" for number in range(12))  # diagnoses that decide nothing


def planted_visits(count: int, seed: int) -> list:
    """Return visits of `count` patients, every second one a returning patient's."""
    generator = np.random.default_rng(seed)
    return [_patient(number, generator) for number in range(count)]


def _patient(number: int, generator):
    lasting = (str(generator.choice(LASTING)),)
    history = ()
    if number % 2:
        history = (_visit(number, 0, lasting, (), generator),)
    return _visit(number, 1, lasting if history else (), history, generator)


def _visit(number, place, lasting, history, generator):
    decisive = generator.choice(list(GIVEN_FOR), generator.integers(1, 3), replace=False).tolist()
    done = generator.choice(list(GIVEN_AFTER), generator.integers(0, 2), replace=False).tolist()
    given = {GIVEN_FOR[code] for code in decisive} | {GIVEN_AFTER[code] for code in done}
    return make_visit(
        patient_id=str(number),
        visit_id=f"{number}-{place}",
        diagnoses=(*decisive, *generator.choice(NOISE, 2, replace=False).tolist()),
        procedures=tuple(done),
        medications=tuple(sorted(given | set(lasting))),
        history=history,
    )
