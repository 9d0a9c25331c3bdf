"""What a source of hospital records has to say about itself. The next source is one such file.

A source names the tables of its export and the columns it reads from them, and gives one SELECT
over those tables (`raw.NAME`) for each of the six tables that ingest works on. Every column of the
export arrives as text; ingest trims, parses, checks and counts, so a source only renames and joins:

    patients       patient_id, sex, birth_date (a date; the first of January where only a year is
                   known)
    admissions     patient_id, visit_id, admit_time, discharge_time, insurance, language,
                   marital_status, race, religion, admission_type, excluded (why the row is no
                   hospital stay, or NULL)
    diagnoses      patient_id, visit_id, sequence, version ("9" or "10"), code
    procedures     patient_id, visit_id, sequence, version, code
    prescriptions  patient_id, visit_id, drug, route, drug_type, start_time (without a time of day
                   where only the date is known), ndc, atc_codes (ATC codes that the export itself
                   gives, separated by a space, or NULL)
    titles         kind ("diagnosis" or "procedure"), version, code, title
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A table of an export, with at least these columns: NAME.csv, NAME.csv.gz or NAME.parquet."""

    name: str
    columns: tuple[str, ...]
    optional: tuple[str, ...] = ()  # columns read as empty where the export lacks them
    required: bool = True  # without it there is no cohort
    may_be_empty: bool = False  # a header and no rows is a fact, not a mistake
    tabs: bool = False  # may have tabs in the place of commas, and then no quotation marks
    keep: str = ""  # SQL: which rows to read, by these columns and tables named before this one


@dataclass(frozen=True, slots=True)
class Reading:
    """How one of ingest's own tables is read; its rows are counted under the name of `table`."""

    table: str
    select: str


@dataclass(frozen=True, slots=True)
class Source:
    """A hospital's layout: its tables, and how each of ingest's own is read from them."""

    name: str  # as typed on the command line
    folders: tuple[str, ...]  # where the tables may lie below the input folder, "" for itself
    tables: tuple[Table, ...]
    patients: Reading
    admissions: Reading
    diagnoses: Reading
    procedures: Reading
    prescriptions: Reading
    titles: Reading
