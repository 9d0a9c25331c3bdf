"""The SQLite file of an installation: the full-text index over the patients of a cohort.

One file (`workbench.sqlite`, write-ahead logging) holds the indexes of the cohorts opened lately,
each keyed by its cohort's fingerprint, so that several cohorts may alternate. An index is written
in one transaction: it is there whole or not at all.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, zip_longest
from pathlib import Path

import sqlite_utils

from engine.errors import WorkbenchError

KEPT_INDEXES = 4  # cohorts whose index stays in the file; the oldest goes first
LOCK_TIMEOUT = 60_000  # milliseconds a writer waits for another one
LONGEST_TEXT = 200  # characters of a query that are read; the rest is ignored
TOKENIZER = "unicode61 remove_diacritics 2"
ORDERS = {
    "patient": "patient_id",
    "last admission": "last_admission DESC, patient_id",
    "visits": "visits DESC, patient_id",
    "age": "age DESC, patient_id",
}
SHOWN_FIELDS = (
    "patient_id",
    "sex",
    "age",
    "visits",
    "last_admission",
    "leading_diagnoses",
    "split",
)


class PatientIndex:
    """Search over the patients of one cohort, by id, diagnosis, drug and simple facts.

    Args:
        database_path: the SQLite file; it and its folder are made when missing.
        fingerprint: identifies the cohort's content; another content is another index.
    """

    def __init__(self, database_path: Path | str, fingerprint: str) -> None:
        self.path = Path(database_path)
        self.fingerprint = fingerprint
        self._name = "index_" + hashlib.sha256(fingerprint.encode()).hexdigest()[:16]

    def is_built(self) -> bool:
        """Whether the whole index of this cohort is in the file."""
        with self._open() as database:
            return self._is_listed(database)

    def build(
        self, patients: Iterable[dict], progress: Callable[[int], None] | None = None
    ) -> None:
        """Write the index of this cohort, replacing nothing else.

        Args:
            patients: one dict a patient with the `SHOWN_FIELDS` (`age` in years, `visits` a
                count, `last_admission` an ISO date) and `terms`, an iterable of
                `(kind, name, code)`: what the patient can be found by.
            progress: called with the number of patients read so far.
        """
        rows, terms, mentions = self._read(patients, progress)  # before the lock: reading is slow
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                if not self._is_listed(database):
                    self._write(database, rows, terms, mentions)
                    self._list(database)
                database.commit()
            finally:
                database.rollback()

    def search(
        self,
        text: str = "",
        age_range: tuple[int, int] | None = None,
        sex: str | None = None,
        visit_kind: str | None = None,
        split: str | None = None,
        page: int = 1,
        page_size: int = 25,
        order: str = "patient",
    ) -> tuple[list[dict], int]:
        """Return one page of the patients that fulfil every condition, and how many there are.

        Args:
            text: the start of a patient id, or words of diagnoses and drugs. Words are found by
                their beginning, and all of them in one name where there is such a name ("heart
                failure"); a comma separates things a patient must have both of. Any characters
                are safe.
            age_range: lowest and highest age in years at the last admission, both included.
            visit_kind: "first" (one admission on record) or "returning".
            page: 1-based.
            order: one of `ORDERS`.

        Returns:
            `(rows, total)`: dicts with `SHOWN_FIELDS` and `found`, the names that matched, the
            shortest first.
        """
        with self._open() as database:
            if not self._is_listed(database):
                raise WorkbenchError("The patient index is not there; reload the page to build it.")
            matched = self._matching_terms(database, text)
            condition, values = self._condition(text, matched, age_range, sex, visit_kind, split)
            table = f"[{self._name}_patients]"
            total = database.execute(
                f"SELECT count(*) FROM {table} WHERE {condition}", values
            ).fetchone()[0]
            rows = list(
                database.query(
                    f"SELECT number, {', '.join(SHOWN_FIELDS)} FROM {table} WHERE {condition} "
                    f"ORDER BY {ORDERS[order]} LIMIT :limit OFFSET :offset",
                    {**values, "limit": page_size, "offset": (page - 1) * page_size},
                )
            )
            self._add_found(database, rows, matched)
            return rows, total

    def facets(self) -> dict:
        """Return what can be filtered by: `ages` (lowest, highest), `sexes`, `splits`, `total`."""
        with self._open() as database:
            table = f"[{self._name}_patients]"
            total, youngest, oldest = database.execute(
                f"SELECT count(*), min(age), max(age) FROM {table}"
            ).fetchone()
            return {
                "total": total,
                "ages": None if youngest is None else (youngest, oldest),
                **{
                    f"{field}{plural}": [
                        value
                        for (value,) in database.execute(
                            f"SELECT DISTINCT {field} FROM {table} "
                            f"WHERE {field} IS NOT NULL ORDER BY {field}"
                        )
                    ]
                    for field, plural in (("sex", "es"), ("split", "s"))
                },
            }

    # ------------------------------------------------------------------ the file

    @contextmanager
    def _open(self) -> Iterator[sqlite_utils.Database]:
        """A connection for one operation: the app's threads cannot share one."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=LOCK_TIMEOUT / 1000)
        except (OSError, sqlite3.Error) as error:
            raise WorkbenchError(
                f"{self.path}: cannot be opened or made ({error}); "
                "choose a writable folder with WORKBENCH_DATA."
            ) from error
        try:
            database = sqlite_utils.Database(connection)
            database.enable_wal()
            yield database
        except sqlite3.DatabaseError as error:
            raise WorkbenchError(
                f"{self.path}: the patient index cannot be read or written ({error}); "
                "move the file away and reload, it is built anew."
            ) from error
        finally:
            connection.close()

    def _is_listed(self, database: sqlite_utils.Database) -> bool:
        listed = database["patient_indexes"]
        return listed.exists() and listed.count_where("name = ?", [self._name]) == 1

    def _list(self, database: sqlite_utils.Database) -> None:
        """Enter this index in the list, and drop the oldest ones beyond `KEPT_INDEXES`."""
        listed = database["patient_indexes"]
        if not listed.exists():
            listed.create({"number": int, "name": str, "fingerprint": str}, pk="number")
        listed.insert({"name": self._name, "fingerprint": self.fingerprint})
        for old in list(listed.rows_where(order_by="number DESC", offset=KEPT_INDEXES, limit=-1)):
            for part in ("terms_fts", "terms", "mentions", "patients"):
                database[f"{old['name']}_{part}"].drop(ignore=True)
            listed.delete(old["number"])

    # ------------------------------------------------------------------ building

    @staticmethod
    def _read(
        patients: Iterable[dict], progress: Callable[[int], None] | None
    ) -> tuple[list[dict], dict[tuple[str, str, str], int], list[tuple[int, int]]]:
        """Number the patients and their distinct terms; return rows, terms and their pairs."""
        rows: list[dict] = []
        terms: dict[tuple[str, str, str], int] = {}
        mentions: list[tuple[int, int]] = []
        for number, patient in enumerate(patients, start=1):
            rows.append({"number": number, **{field: patient[field] for field in SHOWN_FIELDS}})
            for term in dict.fromkeys(patient["terms"]):
                mentions.append((terms.setdefault(term, len(terms) + 1), number))
            if progress:
                progress(number)
        return rows, terms, mentions

    def _write(
        self,
        database: sqlite_utils.Database,
        rows: list[dict],
        terms: dict[tuple[str, str, str], int],
        mentions: list[tuple[int, int]],
    ) -> None:
        patient_table = database[f"{self._name}_patients"]
        text = dict.fromkeys(SHOWN_FIELDS, str)
        patient_table.create({"number": int, **text, "age": int, "visits": int}, pk="number")
        patient_table.insert_all(rows, batch_size=1000)
        patient_table.create_index(["patient_id"], unique=True)

        term_table = database[f"{self._name}_terms"]
        term_table.create({"number": int, "kind": str, "name": str, "code": str}, pk="number")
        term_table.insert_all(
            (
                {"number": number, "kind": kind, "name": name, "code": code}
                for (kind, name, code), number in terms.items()
            ),
            batch_size=1000,
        )
        term_table.enable_fts(["name", "code"], tokenize=TOKENIZER)

        mention_table = database[f"{self._name}_mentions"]
        mention_table.create({"term": int, "patient": int}, pk=("term", "patient"))
        mention_table.insert_all(
            ({"term": term, "patient": patient} for term, patient in mentions), batch_size=5000
        )
        mention_table.create_index(["patient"])

    # ------------------------------------------------------------------ searching

    def _matching_terms(self, database: sqlite_utils.Database, text: str) -> list[list[int]]:
        """Return, for each thing asked for, the numbers of the terms that name it."""
        wanted: list[list[int]] = []
        for part in text[:LONGEST_TEXT].split(","):
            words = [word for word in part.split() if any(map(str.isalnum, word))]
            if not words:
                continue
            together = self._terms_with(database, words)
            wanted += [together] if together else [self._terms_with(database, [w]) for w in words]
        return wanted

    def _terms_with(self, database: sqlite_utils.Database, words: list[str]) -> list[int]:
        query = " AND ".join(_quoted_prefix(word) for word in words)
        table = f"[{self._name}_terms_fts]"
        found = database.execute(f"SELECT rowid FROM {table} WHERE {table} MATCH ?", [query])
        return [number for (number,) in found]

    def _condition(
        self,
        text: str,
        matched: list[list[int]],
        age_range: tuple[int, int] | None,
        sex: str | None,
        visit_kind: str | None,
        split: str | None,
    ) -> tuple[str, dict]:
        """Return a WHERE clause and its bound values; nothing typed enters the clause itself."""
        conditions: list[str] = []
        values: dict = {}
        typed = _printable(text)
        if typed:
            has_all = [
                f"number IN (SELECT patient FROM [{self._name}_mentions] "
                f"WHERE term IN ({', '.join(map(str, terms)) or 'NULL'}))"
                for terms in matched
            ]
            values["id_start"] = typed
            by_id = "substr(patient_id, 1, length(:id_start)) = :id_start"
            conditions.append(f"({by_id} OR ({' AND '.join(has_all) or 'FALSE'}))")
        if age_range:
            values["youngest"], values["oldest"] = age_range
            conditions.append("age BETWEEN :youngest AND :oldest")
        if sex:
            values["sex"] = sex
            conditions.append("sex = :sex")
        if split:
            values["split"] = split
            conditions.append("split = :split")
        if visit_kind:
            conditions.append("visits <= 1" if visit_kind == "first" else "visits > 1")
        return " AND ".join(conditions) or "TRUE", values

    def _add_found(
        self, database: sqlite_utils.Database, rows: list[dict], matched: list[list[int]]
    ) -> None:
        """Give every row `found`: the names it was found by, one of each thing asked for first."""
        patients = ", ".join(str(row["number"]) for row in rows) or "NULL"
        named: dict[int, list[list[str]]] = {row["number"]: [] for row in rows}
        for terms in matched:
            found: dict[int, list[str]] = {}
            for patient, name in database.execute(
                f"SELECT DISTINCT patient, name FROM [{self._name}_mentions] "
                f"JOIN [{self._name}_terms] AS term ON term.number = term "
                f"WHERE patient IN ({patients}) AND term IN ({', '.join(map(str, terms))}) "
                "ORDER BY length(name), name"
            ):
                found.setdefault(patient, []).append(name)
            for patient, names in found.items():
                named[patient].append(names)
        for row in rows:
            in_turn = chain.from_iterable(zip_longest(*named[row.pop("number")]))
            row["found"] = list(dict.fromkeys(name for name in in_turn if name))


def _printable(text: str) -> str:
    """Drop what SQLite cannot bind or FTS cannot read (control characters, lone surrogates)."""
    text = text[:LONGEST_TEXT].encode("utf-8", "ignore").decode()
    return "".join(char for char in text if char.isprintable()).strip()


def _quoted_prefix(word: str) -> str:
    """Return one typed word as an FTS5 expression: quoted, so no character has a meaning.

    A code is found with and without its dot: `I50.21` also as `I5021`.
    """
    spellings = dict.fromkeys([_printable(word), "".join(filter(str.isalnum, word))])
    quoted = ('"' + spelling.replace('"', '""') + '"*' for spelling in spellings)
    return "(" + " OR ".join(quoted) + ")"
