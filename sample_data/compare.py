"""Counts the same figures on a real and on a synthetic folder of MIMIC-IV `hosp` tables.

    python -m sample_data.compare REAL_DIR SAMPLE_DIR

Prints a Markdown table. Medication groups are counted with the engine's drug → ATC matcher.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from sample_data.chance import stream

TEST_SHARE, TRAINING_SHARE = 0.1, 0.8
SPLITS = 20


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sample_data.compare", description=__doc__)
    parser.add_argument("real", type=Path)
    parser.add_argument("sample", type=Path)
    arguments = parser.parse_args(argv)
    columns = []
    for folder in (arguments.real, arguments.sample):
        try:
            columns.append(marginals(folder))
        except FileNotFoundError as missing:
            message = f"{missing.filename} is not there; give a folder of MIMIC-IV hosp tables"
            print(f"error: {message}", file=sys.stderr)
            return 2
    print("| figure | MIMIC-IV demo | sample |\n|---|---:|---:|")
    for name, value in columns[0].items():
        print(f"| {name} | {value} | {columns[1][name]} |")
    return 0


def marginals(folder: Path, groups_of: Callable | None = None) -> dict[str, str]:
    """Figure by name, formatted. `groups_of(drug, route, drug_type)` gives a row's ATC groups."""
    groups_of = groups_of or _matcher()
    admissions = _rows(folder, "admissions")
    visits = [row["hadm_id"] for row in admissions]
    by_patient = Counter(row["subject_id"] for row in admissions)
    diagnoses, procedures = _rows(folder, "diagnoses_icd"), _rows(folder, "procedures_icd")
    prescriptions = _rows(folder, "prescriptions")
    ages = [int(row["anchor_age"]) for row in _rows(folder, "patients")]
    female = statistics.mean(row["gender"] == "F" for row in _rows(folder, "patients"))
    groups: dict[str, set[str]] = defaultdict(set)
    cache: dict[tuple, tuple] = {}
    for row in prescriptions:
        key = (row["drug"], row["route"], row["drug_type"])
        if key not in cache:
            cache[key] = tuple(groups_of(*key))
        groups[row["hadm_id"]].update(cache[key])
    per_group = [len(found) for found in groups.values() if found]
    prescribed = Counter(row["hadm_id"] for row in prescriptions)
    drugs = {(row["hadm_id"], row["drug"].strip().lower()) for row in prescriptions}
    old = {row["hadm_id"] for row in diagnoses if row["icd_version"] == "9"}
    occurrences, distinct = unseen_codes(diagnoses)
    same_size = unseen_codes(diagnoses, patients=100)
    repeated = _carried_over(admissions, groups)
    return {
        "patients": f"{len(by_patient):,}",
        "admissions": f"{len(visits):,}",
        "patients with a single admission": _percent(
            statistics.mean(count == 1 for count in by_patient.values())
        ),
        "admissions a patient, mean": f"{len(visits) / len(by_patient):.2f}",
        "age, mean": f"{statistics.mean(ages):.1f}",
        "women": _percent(female),
        "diagnoses a visit, mean (standard deviation)": _spread(diagnoses, visits),
        "procedures a visit, mean (standard deviation)": _spread(procedures, visits),
        "visits without a procedure": _percent(
            1 - len({row["hadm_id"] for row in procedures}) / len(visits)
        ),
        "visits without a prescription": _percent(1 - len(prescribed) / len(visits)),
        "prescription rows a visit that has any": f"{statistics.mean(prescribed.values()):.1f}",
        "distinct drug names a visit": f"{len(drugs) / len(prescribed):.1f}",
        "medication groups a visit, mean (standard deviation)": (
            f"{statistics.mean(per_group):.1f} ({statistics.stdev(per_group):.1f})"
        ),
        "medication groups in use": f"{len(set().union(*groups.values()))}",
        "overlap (Jaccard) of the groups of consecutive visits": _percent(repeated),
        "admissions coded in ICD-9-CM": _percent(len(old) / len(visits)),
        "distinct diagnosis codes": (
            f"{len({(row['icd_code'], row['icd_version']) for row in diagnoses}):,}"
        ),
        "distinct diagnosis codes of test patients unseen in training": _percent(distinct),
        "diagnosis rows of test patients unseen in training": _percent(occurrences),
        "the same two in a cohort of 100 patients": (
            f"{_percent(same_size[1])}, {_percent(same_size[0])}"
        ),
        "prescription rows of type BASE": _percent(
            statistics.mean(row["drug_type"] == "BASE" for row in prescriptions)
        ),
        "gsn empty": _percent(statistics.mean(not row["gsn"] for row in prescriptions)),
        "doses_per_24_hrs empty": _percent(
            statistics.mean(not row["doses_per_24_hrs"] for row in prescriptions)
        ),
        "marital_status empty": _percent(
            statistics.mean(not row["marital_status"] for row in admissions)
        ),
        "language not English": _percent(
            statistics.mean(row["language"] != "ENGLISH" for row in admissions)
        ),
        "discharge_location empty": _percent(
            statistics.mean(not row["discharge_location"] for row in admissions)
        ),
        "edregtime empty": _percent(statistics.mean(not row["edregtime"] for row in admissions)),
        "died in hospital": _percent(
            statistics.mean(row["hospital_expire_flag"] == "1" for row in admissions)
        ),
    }


def unseen_codes(diagnoses: list[dict], patients: int | None = None) -> tuple[float, float]:
    """Share of the test patients' diagnosis rows, and of their distinct codes, not in training.

    Averaged over seeded splits by patient (80 % training, 10 % test); with `patients`, each split
    is of a random cohort of that size.
    """
    codes_of: dict[str, list[tuple]] = defaultdict(list)
    for row in diagnoses:
        codes_of[row["subject_id"]].append((row["icd_version"], row["icd_code"]))
    everyone = sorted(codes_of)
    rows, distinct = [], []
    for split in range(SPLITS):
        shuffled = list(everyone)
        stream("split", split).shuffle(shuffled)
        shuffled = shuffled[:patients]
        train = shuffled[: int(TRAINING_SHARE * len(shuffled))]
        test = shuffled[-max(1, int(TEST_SHARE * len(shuffled))) :]
        known = {code for patient in train for code in codes_of[patient]}
        met = [code for patient in test for code in codes_of[patient]]
        rows.append(statistics.mean(code not in known for code in met))
        distinct.append(statistics.mean(code not in known for code in set(met)))
    return statistics.mean(rows), statistics.mean(distinct)


def _carried_over(admissions: list[dict], groups: dict[str, set[str]]) -> float:
    """Mean Jaccard overlap of the medication groups of consecutive visits."""
    timeline: dict[str, list[str]] = defaultdict(list)
    for row in sorted(admissions, key=lambda row: row["admittime"]):
        if groups.get(row["hadm_id"]):
            timeline[row["subject_id"]].append(row["hadm_id"])
    overlaps = []
    for visits in timeline.values():
        for before, after in zip(visits, visits[1:], strict=False):
            both = groups[before] & groups[after]
            overlaps.append(len(both) / len(groups[before] | groups[after]))
    return statistics.mean(overlaps)


def _rows(folder: Path, table: str) -> list[dict]:
    with gzip.open(folder / f"{table}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _matcher() -> Callable:
    from engine.terminology.drugs import match  # only this figure needs the engine

    return lambda drug, route, drug_type: match(drug, route or None, drug_type).groups


def _spread(rows: list[dict], visits: list[str]) -> str:
    counts = Counter(row["hadm_id"] for row in rows)
    values = [counts.get(visit, 0) for visit in visits]
    return f"{statistics.mean(values):.1f} ({statistics.stdev(values):.1f})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


if __name__ == "__main__":
    sys.exit(main())
