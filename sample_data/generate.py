"""Writes a synthetic cohort in the MIMIC-IV `hosp` layout.

    python -m sample_data.generate OUT --patients 3000 --seed 20260

Equal arguments give byte-identical files. The shipped tables in `sample_data/hosp` were made with
the defaults.
"""

from __future__ import annotations

import argparse
import math
import sys
from datetime import timedelta
from pathlib import Path

from sample_data.codes import CodeTables
from sample_data.knowledge_base import KnowledgeBase
from sample_data.orders import prescription_rows
from sample_data.patients import Patient, create_patient, progress
from sample_data.prescribing import Prescribers, Prescribing, long_term_codes
from sample_data.tables import build_tables, write_tables
from sample_data.visits import VisitRecord, simulate_visit

SHIPPED_PATIENTS = 3000
SHIPPED_SEED = 20260


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m sample_data.generate",
        description="Write a synthetic cohort in the MIMIC-IV hosp layout.",
    )
    parser.add_argument("output", type=Path, help="folder for the .csv.gz tables")
    parser.add_argument("--patients", type=int, default=SHIPPED_PATIENTS)
    parser.add_argument("--seed", type=int, default=SHIPPED_SEED)
    arguments = parser.parse_args(argv)
    if arguments.patients < 1:
        print("error: --patients must be at least 1", file=sys.stderr)
        return 2
    tables = generate(arguments.patients, arguments.seed)
    try:
        write_tables(tables, arguments.output)
    except OSError as problem:
        print(f"error: cannot write {arguments.output}: {problem.strerror}", file=sys.stderr)
        return 2
    for name, rows in tables.items():
        print(f"{name:<18}{len(rows):>9,} rows")
    return 0


def generate(patients: int, seed: int) -> dict[str, list[list]]:
    """The rows of all tables for this many patients; equal arguments give equal rows."""
    knowledge = KnowledgeBase.load()
    codes = CodeTables.load()
    prescribers = Prescribers(seed, knowledge)
    prescribing = Prescribing(knowledge, prescribers)
    cohort = []
    for number in range(patients):
        patient = create_patient(number, seed, knowledge, codes)
        cohort.append(_visits(patient, prescribing, prescribers, knowledge, codes))
        _show_progress(number + 1, patients)
    return build_tables(cohort, knowledge, codes)


def _visits(
    patient: Patient,
    prescribing: Prescribing,
    prescribers: Prescribers,
    knowledge: KnowledgeBase,
    codes: CodeTables,
) -> list[VisitRecord]:
    """The patient's admissions in time order, each with its prescription rows."""
    random = patient.random
    visits = []
    admitted, reason = patient.first_admission, None
    for _ in range(patient.planned_visits):
        visit, reason = simulate_visit(patient, admitted, reason, knowledge, codes)
        number = int(random.random() * len(prescribers.names))
        agents = prescribing.agents(visit, number)
        noted = long_term_codes(visit, agents, knowledge)
        visit.diagnoses = list(dict.fromkeys(visit.diagnoses + noted))
        visit.orders = prescription_rows(visit, agents, prescribers.names[number], knowledge)
        visits.append(visit)
        if visit.deceased:
            patient.died = visit.discharged
            break
        gap = min(1500.0, 4 + 75 * math.exp(random.gauss(0, 1.25)))
        admitted = visit.discharged + timedelta(days=gap)
        progress(patient, patient.age_at(admitted), knowledge, codes)
    if not patient.died and random.random() < 0.08 + 0.25 * max(0.0, patient.age - 60) / 40:
        patient.died = visits[-1].discharged + timedelta(days=30 + 330 * random.random())
    return visits


def _show_progress(done: int, total: int) -> None:
    if sys.stderr.isatty() and (done == total or done % 50 == 0):
        filled = 30 * done // total
        bar = "█" * filled + "·" * (30 - filled)
        end = "\n" if done == total else ""
        print(f"\r{bar} {done:,} of {total:,} patients", end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
