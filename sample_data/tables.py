"""Writes the cohort in the MIMIC-IV `hosp` layout, byte-identical for equal cohorts."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from sample_data.chance import pick
from sample_data.codes import CodeTables
from sample_data.knowledge_base import KnowledgeBase
from sample_data.visits import VisitRecord

FIRST_VISIT_ID = 29_900_001
_FIRST_PHARMACY_ID = 30_000_001
_OLDEST_AGE = 89  # MIMIC groups everyone older as 91

COLUMNS = {
    "patients": ["subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod"],
    "admissions": [
        "subject_id", "hadm_id", "admittime", "dischtime", "deathtime", "admission_type",
        "admit_provider_id", "admission_location", "discharge_location", "insurance", "language",
        "marital_status", "race", "edregtime", "edouttime", "hospital_expire_flag",
    ],
    "diagnoses_icd": ["subject_id", "hadm_id", "seq_num", "icd_code", "icd_version"],
    "procedures_icd": ["subject_id", "hadm_id", "seq_num", "chartdate", "icd_code", "icd_version"],
    "prescriptions": [
        "subject_id", "hadm_id", "pharmacy_id", "poe_id", "poe_seq", "order_provider_id",
        "starttime", "stoptime", "drug_type", "drug", "formulary_drug_cd", "gsn", "ndc",
        "prod_strength", "form_rx", "dose_val_rx", "dose_unit_rx", "form_val_disp",
        "form_unit_disp", "doses_per_24_hrs", "route",
    ],
    "d_icd_diagnoses": ["icd_code", "icd_version", "long_title"],
    "d_icd_procedures": ["icd_code", "icd_version", "long_title"],
}  # fmt: skip


def build_tables(
    visits: list[list[VisitRecord]], knowledge: KnowledgeBase, codes: CodeTables
) -> dict[str, list[list]]:
    """Rows of every table, from the visits of each patient in time order."""
    tables: dict[str, list[list]] = {name: [] for name in COLUMNS}
    used: dict[str, set[tuple[str, int]]] = {"diagnosis": set(), "procedure": set()}
    visit_id = FIRST_VISIT_ID
    pharmacy_id = _FIRST_PHARMACY_ID
    for patient_visits in visits:
        patient = patient_visits[0].patient
        shift = patient.shift_years
        tables["patients"].append(_patient_row(patient, patient_visits))
        for visit in patient_visits:
            keys = [patient.patient_id, visit_id]
            tables["admissions"].append(keys + _admission_fields(visit, knowledge))
            for number, (code, version) in enumerate(_diagnoses(visit, codes), start=1):
                tables["diagnoses_icd"].append([*keys, number, code, version])
                used["diagnosis"].add((code, version))
            for number, (code, day) in enumerate(visit.procedures, start=1):
                charted = _shifted(day, shift).date().isoformat()
                row = [*keys, number, charted, code, visit.icd_version]
                tables["procedures_icd"].append(row)
                used["procedure"].add((code, visit.icd_version))
            for row in visit.orders:
                pharmacy_id += not row.accompanies  # an order and its vehicle share the number
                tables["prescriptions"].append(keys + _prescription_fields(row, shift, pharmacy_id))
            visit_id += 1
    for kind, name in (("diagnosis", "d_icd_diagnoses"), ("procedure", "d_icd_procedures")):
        tables[name] = [
            [code, version, codes.title(kind, version, code)]
            for code, version in sorted(used[kind], key=lambda item: (item[1], item[0]))
        ]
    return tables


def write_tables(tables: dict[str, list[list]], folder: Path) -> None:
    """Writes `NAME.csv.gz` for each table; the compressed bytes carry no time and no name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        data = _compressed(_lines(COLUMNS[name], rows))
        part = folder / f".{name}.part"
        part.write_bytes(data)
        part.replace(folder / f"{name}.csv.gz")


def _lines(header: list[str], rows: Iterable[list]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")


def _compressed(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as file:
        file.write(data)
    return buffer.getvalue()


def _patient_row(patient, visits: list[VisitRecord]) -> list:
    first = visits[0].admitted
    age = int(patient.age)
    group = 2008 + (first.year - 2008) // 3 * 3
    died = patient.died
    return [
        patient.patient_id,
        patient.sex,
        age if age <= _OLDEST_AGE else 91,
        first.year + patient.shift_years,
        f"{group} - {group + 2}",
        _shifted(died, patient.shift_years).date().isoformat() if died else "",
    ]


def _admission_fields(visit: VisitRecord, knowledge: KnowledgeBase) -> list:
    patient, random = visit.patient, visit.patient.random
    who, shift = knowledge.demographics, visit.patient.shift_years
    location = pick(random, who["admission_location"][visit.emergency])
    frail = visit.days > 7 or patient.age_at(visit.admitted) > 78
    home = pick(random, who["discharge_location"]["frail" if frail else "well"])
    arrival = departure = ""
    if location in ("EMERGENCY ROOM", "WALK-IN/SELF REFERRAL") or (
        visit.emergency == "emergency" and random.random() < 0.3
    ):
        before = visit.admitted - timedelta(minutes=60 + int(random.random() * 480))
        after = visit.admitted + timedelta(minutes=30 + int(random.random() * 240))
        arrival, departure = _stamp(before, shift), _stamp(after, shift)
    provider = visit.orders[0].provider if visit.orders else ""
    return [
        _stamp(visit.admitted, shift),
        _stamp(visit.discharged, shift),
        _stamp(visit.discharged, shift) if visit.deceased else "",
        pick(random, who["admission_type"][visit.emergency]),
        provider or "P00ZZZ",
        location,
        "DIED" if visit.deceased else home,
        patient.insurance,
        patient.language,
        patient.marital_status,
        patient.race,
        arrival,
        departure,
        int(visit.deceased),
    ]


def _diagnoses(visit: VisitRecord, codes: CodeTables) -> list[tuple[str, int]]:
    if visit.icd_version == 10:
        return [(code, 10) for code in visit.diagnoses]
    older = (codes.to_icd9.get(code) for code in visit.diagnoses)
    kept = dict.fromkeys(code for code in older if code in codes.icd9_diagnoses)
    return [(code, 9) for code in kept]


def _prescription_fields(row, shift: int, pharmacy_id: int) -> list:
    return [
        pharmacy_id,
        "",
        "",
        row.provider,
        _stamp(row.start, shift),
        _stamp(row.stop, shift) if row.stop else "",
        row.drug_type,
        row.drug,
        row.formulary_code,
        row.generic_sequence_number,
        row.national_drug_code,
        row.product,
        "",
        row.dose,
        row.dose_unit,
        row.form_value,
        row.form_unit,
        row.per_day,
        row.route,
    ]


def _stamp(time: datetime, shift: int) -> str:
    return _shifted(time, shift).strftime("%Y-%m-%d %H:%M:00")


def _shifted(time: datetime, years: int) -> datetime:
    """The same day and hour, years later; 29 February becomes the 28th where it must."""
    try:
        return time.replace(year=time.year + years)
    except ValueError:
        return time.replace(year=time.year + years, day=28)
