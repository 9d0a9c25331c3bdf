"""A tiny hospital in the MIMIC-IV layout, written by hand, for tests that need one."""

import csv
import gzip
import io
from pathlib import Path

ADMISSION = {
    "admission_type": "URGENT",
    "insurance": "Medicare",
    "language": "ENGLISH",
    "marital_status": "MARRIED",
    "race": "WHITE",
}

# Patient 1 has three admissions whose ids run against time; patient 2 a single one without a
# prescription; patient 3 a single one.
TABLES: dict[str, list[dict[str, str]]] = {
    "patients": [
        {"subject_id": "1", "gender": "F", "anchor_age": "64", "anchor_year": "2150"},
        {"subject_id": "2", "gender": "M", "anchor_age": "40", "anchor_year": "2160"},
        {"subject_id": "3", "gender": "M", "anchor_age": "89", "anchor_year": "2170"},
    ],
    "admissions": [
        {"subject_id": patient, "hadm_id": visit, "admittime": start, "dischtime": end, **ADMISSION}
        for patient, visit, start, end in (
            ("1", "300", "2150-03-01 10:00:00", "2150-03-05 12:00:00"),
            ("1", "100", "2153-01-01 00:30:00", "2153-01-04 09:00:00"),
            ("1", "200", "2151-06-01 08:00:00", "2151-06-02 08:00:00"),
            ("2", "400", "2160-02-02 02:02:00", "2160-02-03 02:02:00"),
            ("3", "500", "2171-12-31 23:59:00", "2172-01-09 11:00:00"),
        )
    ],
    "diagnoses_icd": [
        {"subject_id": patient, "hadm_id": visit, "seq_num": place, "icd_code": code,
         "icd_version": version}
        for patient, visit, place, code, version in (
            ("1", "300", "10", "4019", "9"),
            ("1", "300", "2", "0090", "9"),
            ("1", "300", "1", "41401", "9"),
            ("1", "200", "1", "I5021", "10"),
            ("1", "100", "1", "I5021", "10"),
            ("1", "100", "2", "E119", "10"),
            ("2", "400", "1", "E8120", "10"),
            ("3", "500", "1", "E8120", "9"),
            ("3", "500", "2", "I10", "10"),
        )
    ],
    "procedures_icd": [
        {"subject_id": "1", "hadm_id": "300", "seq_num": "1", "icd_code": "0066",
         "icd_version": "9"},
        {"subject_id": "1", "hadm_id": "100", "seq_num": "1", "icd_code": "02703ZZ",
         "icd_version": "10"},
    ],
    "prescriptions": [
        {"subject_id": patient, "hadm_id": visit, "drug_type": "MAIN", "drug": drug, "route": route}
        for patient, visit, drug, route in (
            ("1", "300", "Metoprolol Tartrate", "PO"),
            ("1", "300", "Furosemide", "IV"),
            ("1", "300", "Furosemide", "PO"),
            ("1", "200", "Furosemide", "PO"),
            ("1", "100", "Furosemide", "PO"),
            ("1", "100", "Heparin Flush (10 units/ml)", "IV"),
            ("3", "500", "Furosemide", "IV"),
            ("3", "500", "Zzyzxol Unheardof", "PO"),
        )
    ],
    "d_icd_diagnoses": [
        {"icd_code": "E8120", "icd_version": "9", "long_title": "Traffic accident, driver"},
        {"icd_code": "I10", "icd_version": "10", "long_title": "Our own words for hypertension"},
    ],
    "d_icd_procedures": [
        {"icd_code": "0066", "icd_version": "9", "long_title": "Coronary angioplasty"},
    ],
}  # fmt: skip


def rows(table: str) -> list[dict[str, str]]:
    """Return fresh copies of a table's rows, to change and hand to `write_tables`."""
    return [dict(row) for row in TABLES[table]]


def as_csv(table: list[dict[str, str]], delimiter: str = ",") -> bytes:
    """Return rows as a CSV file with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue().encode()


def write_tables(folder: Path, suffix: str = ".csv", **overrides) -> Path:
    """Write the tiny hospital and return its folder.

    `overrides` replace tables by name: a list of rows, the bytes of the file, or None for a table
    that is not there. `suffix` is `.csv` or `.csv.gz`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {**TABLES, **overrides}.items():
        if content is None:
            continue
        data = content if isinstance(content, bytes) else as_csv(content)
        if suffix == ".csv.gz" and not isinstance(content, bytes):
            data = gzip.compress(data, mtime=0)
        (folder / f"{name}{suffix}").write_bytes(data)
    return folder
