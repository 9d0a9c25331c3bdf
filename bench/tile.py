"""The sample cohort laid side by side until it has the size of MIMIC-IV. Synthetic: sizes only.

    python -m bench tile --patients 300000 DIR

Each tile is the sample's 3,000 patients again under ids of their own. Every patient keeps the
first admission; the others, and the rows of diagnoses, procedures and prescriptions, are thinned by
a seeded hash until a patient has as many of each as in MIMIC-IV on average (`ROWS_PER_PATIENT`).

A hospital writes far more different codes and names than the sample holds. So that dictionaries,
titles and the drug matcher have real work, a hash-chosen part of the rows (`DRAWN`) gets another
code from the ICD tables, or a strength and a form behind the drug's name ("Furosemide 40 mg
Tablet"), frequent ones far more often than rare ones. At 300,000 patients that makes about 28,000
diagnosis codes, 13,000 procedure codes and 10,000 drug names. The result means nothing medically.
"""

import argparse
import gzip
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
import pyarrow
import pyarrow.csv
from tqdm import tqdm

from engine.errors import WorkbenchError
from engine.files import read_json, whole_folder, write_json
from engine.terminology import icd

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data" / "hosp"
RECIPE = 1  # raised when the same number of patients gives other tables
# MIMIC-IV's admitted patients (release 2.2, rounded): 430,000 admissions, 4.7 M diagnoses,
# 0.67 M procedures and 15 M prescriptions of 300,000 patients.
ROWS_PER_PATIENT = {
    "admissions": 430 / 300,
    "diagnoses_icd": 4_700 / 300,
    "procedures_icd": 670 / 300,
    "prescriptions": 15_000 / 300,
}
CHILDREN = ("diagnoses_icd", "procedures_icd", "prescriptions")  # rows that hang on an admission
DRAWN = {"diagnoses_icd": 0.1, "procedures_icd": 0.2, "prescriptions": 0.3}  # share of rows
EXTRA_CODES = {"diagnosis": 12_700, "procedure": 11_100}  # that the sample does not have
STRENGTHS = (5, 10, 20, 40, 100)
FORMS = ("Tablet", "Capsule", "Vial")
FIRST_PATIENT, FIRST_ADMISSION = 10_000_000, 20_000_000
COMPRESSION_LEVEL = 6  # gzip's own

# The share that chance gives to a row, 0 to 1; `what` keeps one decision apart from the next.
# Hashed twice: `hash` of several values is not mixed at its end, and decisions would go together.
MACROS = """
CREATE MACRO share(seed, what, tile, row_number) AS
    hash(hash(seed, what, tile, row_number)) / 18446744073709551616.0;
CREATE MACRO rank(size, share) AS least(floor(size * pow(share, 3)), size - 1)::BIGINT;
"""

# Which admissions a tile keeps, under which new ids.
KEPT = f"""
CREATE OR REPLACE TABLE kept AS
SELECT hadm_id AS old_id, number AS row_number,
       {FIRST_PATIENT} + patient.place + $tile * $tile_patients AS subject_id,
       {FIRST_ADMISSION} + number + $tile * $tile_admissions AS hadm_id
FROM numbered AS admission
JOIN places AS patient ON patient.subject_id = admission.subject_id
WHERE patient.place + $tile * $tile_patients < $patients
  AND (is_first OR share($seed, 'admissions', $tile, number) < $keep)
"""


@dataclass(frozen=True, slots=True)
class Tiled:
    """Tables of a number of patients: their folder, and table → rows."""

    folder: Path
    patients: int
    rows: dict[str, int]


def tile(patients: int, folder: Path, seed: int = 0, sample: Path = SAMPLE) -> Tiled:
    """Write the tables of so many patients to `folder` as `.csv.gz`; whole or not at all.

    The same arguments and release of DuckDB give the same rows. Tables that an earlier call wrote
    are used as they are. Raises WorkbenchError when `folder` holds anything else.
    """
    if patients < 1:
        raise WorkbenchError(f"--patients: expected a number of 1 or more, not {patients}")
    recipe = {"recipe": RECIPE, "patients": patients, "seed": seed}
    note = folder / "tiled.json"
    if note.is_file():
        facts = read_json(note, "remove the folder")
        if {name: facts.get(name) for name in recipe} == recipe:
            return Tiled(folder, patients, facts["rows"])
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WorkbenchError(f"{folder}: holds other files; name an empty or a new folder")
    with whole_folder(folder) as building, duckdb.connect(config={"threads": 2}) as connection:
        rows = _write(connection, patients, building, seed, sample)
        write_json(building / "tiled.json", {**recipe, "rows": rows})
    return Tiled(folder, patients, rows)


def _write(
    connection: duckdb.DuckDBPyConnection, patients: int, folder: Path, seed: int, sample: Path
) -> dict[str, int]:
    for name in ("patients", "admissions", *CHILDREN):
        connection.execute(
            f"CREATE TABLE {name} AS FROM read_csv(?, all_varchar = true)",
            [str(sample / f"{name}.csv.gz")],
        )
    connection.execute("SET enable_progress_bar = false")  # the one below says more
    connection.execute(MACROS)
    connection.execute("""
        CREATE TABLE places AS SELECT subject_id, rowid AS place FROM patients;
        CREATE TABLE numbered AS
        SELECT subject_id, hadm_id, rowid AS number,
               row_number() OVER (PARTITION BY subject_id ORDER BY admittime, rowid) = 1 AS is_first
        FROM admissions
    """)
    _offer_codes(connection)
    _write_titles(connection, folder)
    keep = _shares_to_keep(connection)
    tile_patients = _count(connection, "patients")
    sizes = {"tile_patients": tile_patients, "tile_admissions": _count(connection, "admissions")}
    selects = {
        "patients": _select_patients(),
        "admissions": _select_admissions(),
        **{name: _select_codes(connection, name) for name in CHILDREN[:2]},
        "prescriptions": _select_prescriptions(),
    }
    rows = dict.fromkeys(selects, 0)
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(_csv_writer(connection, name, folder)) for name in selects
        }
        bar = stack.enter_context(
            tqdm(total=patients, desc="tiling the sample", unit=" patients", disable=None)
        )
        for number in range(-(-patients // tile_patients)):
            connection.execute(
                KEPT,
                {"tile": number, "seed": seed, "patients": patients, "keep": keep["admissions"]}
                | sizes,
            )
            for name, select in selects.items():
                values = {"tile": number, **sizes}
                values |= {"patients": patients} if name == "patients" else {}
                values |= {"seed": seed, "keep": keep[name]} if name in CHILDREN else {}
                wanted = {key: value for key, value in values.items() if f"${key}" in select}
                table = connection.sql(select, params=wanted).to_arrow_table()
                rows[name] += table.num_rows
                writers[name].write_table(table)
            bar.update(min(tile_patients, patients - number * tile_patients))
    return rows


def _shares_to_keep(connection: duckdb.DuckDBPyConnection) -> dict[str, float]:
    """Return table → the share of its rows to keep; for admissions, of those after the first."""
    patients = _count(connection, "patients")
    wanted = ROWS_PER_PATIENT["admissions"] * patients - patients
    keep = {"admissions": min(1.0, wanted / (_count(connection, "admissions") - patients))}
    for name in CHILDREN:
        first, later = connection.execute(
            f"SELECT count(*) FILTER (WHERE is_first), count(*) FILTER (WHERE NOT is_first) "
            f"FROM {name} JOIN numbered USING (hadm_id)"
        ).fetchone()
        there = first + later * keep["admissions"]
        keep[name] = min(1.0, ROWS_PER_PATIENT[name] * patients / there)
    return keep


def _offer_codes(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `extra_…`: codes of the ICD tables that the sample lacks, in an order of chance."""
    for kind, name in (("diagnosis", "diagnoses_icd"), ("procedure", "procedures_icd")):
        parts = [code.split(":", 1) for code in icd.codes(kind)]
        every = pyarrow.table({"version": [p[0] for p in parts], "code": [p[1] for p in parts]})
        connection.register("every", every)
        connection.execute(f"""
            CREATE TABLE every_{name} AS FROM every;
            CREATE TABLE extra_{name} AS
            SELECT row_number() OVER (ORDER BY hash(version, code), code) - 1 AS place, *
            FROM every ANTI JOIN {name} ON version = icd_version AND code = icd_code
            ORDER BY place LIMIT {EXTRA_CODES[kind]}
        """)
        connection.unregister("every")


def _select_patients() -> str:
    return f"""
        SELECT {FIRST_PATIENT} + rowid + $tile * $tile_patients AS subject_id,
               * EXCLUDE (subject_id)
        FROM patients WHERE rowid + $tile * $tile_patients < $patients ORDER BY rowid
    """


def _select_admissions() -> str:
    return """
        SELECT kept.subject_id, kept.hadm_id, entry.* EXCLUDE (subject_id, hadm_id)
        FROM admissions AS entry JOIN kept ON kept.row_number = entry.rowid ORDER BY entry.rowid
    """


def _select_codes(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    size = _count(connection, f"extra_{name}")
    return f"""
        SELECT kept.subject_id, kept.hadm_id, entry.* EXCLUDE (subject_id, hadm_id) REPLACE (
                   coalesce(extra.code, icd_code) AS icd_code,
                   coalesce(extra.version, icd_version) AS icd_version)
        FROM {name} AS entry JOIN kept ON kept.old_id = entry.hadm_id
        LEFT JOIN extra_{name} AS extra ON extra.place = CASE
            WHEN share($seed, 'drawn', $tile, entry.rowid) < {DRAWN[name]}
            THEN rank({size}, share($seed, 'which', $tile, entry.rowid)) END
        WHERE share($seed, '{name}', $tile, entry.rowid) < $keep
        ORDER BY entry.rowid
    """


def _select_prescriptions() -> str:
    names = [f"{strength} mg {form}" for strength in STRENGTHS for form in FORMS]
    return f"""
        SELECT kept.subject_id, kept.hadm_id, entry.* EXCLUDE (subject_id, hadm_id) REPLACE (
            CASE WHEN share($seed, 'drawn', $tile, entry.rowid) < {DRAWN["prescriptions"]}
                 THEN drug || ' ' || {names}[
                      1 + rank({len(names)}, share($seed, 'which', $tile, entry.rowid))]
                 ELSE drug END AS drug)
        FROM prescriptions AS entry JOIN kept ON kept.old_id = entry.hadm_id
        WHERE share($seed, 'prescriptions', $tile, entry.rowid) < $keep
        ORDER BY entry.rowid
    """


def _write_titles(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Write `d_icd_…`: a title for every code there is, as MIMIC-IV has them."""
    for kind, name in (("diagnosis", "diagnoses"), ("procedure", "procedures")):
        codes = connection.execute(
            f"SELECT version, code FROM every_{name}_icd "
            f"UNION SELECT icd_version, icd_code FROM {name}_icd ORDER BY ALL"
        ).fetchall()
        table = pyarrow.table(
            {
                "icd_code": [code for _, code in codes],
                "icd_version": [version for version, _ in codes],
                "long_title": [icd.title(kind, f"{version}:{code}") for version, code in codes],
            }
        )
        with _gzip_csv(folder / f"d_icd_{name}.csv.gz", table.schema) as writer:
            writer.write_table(table)


def _csv_writer(connection: duckdb.DuckDBPyConnection, name: str, folder: Path):
    columns = [row[0] for row in connection.execute(f"DESCRIBE {name}").fetchall()]
    numbers = ("subject_id", "hadm_id")
    schema = pyarrow.schema(
        [(column, pyarrow.int64() if column in numbers else pyarrow.string()) for column in columns]
    )
    return _gzip_csv(folder / f"{name}.csv.gz", schema)


@contextmanager
def _gzip_csv(path: Path, schema: pyarrow.Schema) -> Iterator[pyarrow.csv.CSVWriter]:
    options = pyarrow.csv.WriteOptions(quoting_style="needed")
    with (
        gzip.GzipFile(path, "wb", COMPRESSION_LEVEL, mtime=0) as file,
        pyarrow.csv.CSVWriter(file, schema, write_options=options) as writer,
    ):
        yield writer


def _count(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    return connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command."""
    parser = subparsers.add_parser("tile", help="write the sample's tables at any size")
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder to make")
    parser.add_argument("--patients", type=int, default=300_000, metavar="N")
    parser.add_argument("--seed", type=int, default=0, help="which rows are kept (default 0)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Tile and print the number of rows of each table."""
    tiled = tile(arguments.patients, arguments.folder, arguments.seed)
    for name, rows in asdict(tiled)["rows"].items():
        print(f"{name:<18}{rows:>14,}")
    return 0
