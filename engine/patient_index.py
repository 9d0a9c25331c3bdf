"""The patient index: full-text search over the patients of a cohort, quick at 300,000 of them.

    index = PatientIndex("data/workbench.sqlite", cohort.fingerprint)
    index.build(patients)
    rows, total = index.search("heart failure, insulin", sex="F", page=2)

The SQLite file holds the indexes of the cohorts opened lately, each keyed by its cohort's
fingerprint, so that several cohorts may alternate. An index is written in one transaction: it is
there whole or not at all. It has four tables, in which a patient is a number from 0:

- `terms`, one row a name or code that anyone can be found by, with the set of its patients;
- `terms_fts`, the full-text index over the terms: tens of thousands, however many the patients;
- `patients`, one row a patient, with the set of its terms;
- `facts`, arrays over all patients: the sets that filters ask for, ages, and every order.

A search is arithmetic on arrays of one element a patient; only the page shown is read as rows.
"""

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from sqlite_utils import Database

from engine import store
from engine.errors import WorkbenchError

LAYOUT = 2  # of the tables; raised when they change, so that older indexes are built anew
KEPT_INDEXES = 4  # cohorts whose index stays in the file; the oldest goes first
LONGEST_TEXT = 200  # characters of a query that are read; the rest is ignored
TOKENIZER = "unicode61 remove_diacritics 2"
LAST_CHARACTER = "\U0010ffff"
ORDERS = {
    "patient": "patient_id",
    "last admission": "last_admission DESC, patient_id",
    "visits": "visits DESC, patient_id",
    "age": "age DESC, patient_id",
}
FILTERS = {  # a fact about a patient that a search can ask for, as SQL
    "sex": "sex",
    "split": "split",
    "visit_kind": "CASE WHEN visits <= 1 THEN 'first' ELSE 'returning' END",
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
Term = tuple[str, str, str]  # kind, name, code


class PatientIndex:
    """Search over the patients of one cohort, by id, diagnosis, drug and simple facts.

    Args:
        database_path: the SQLite file; it and its folder are made when missing.
        fingerprint: identifies the cohort's content; another content is another index.
    """

    def __init__(self, database_path: Path | str, fingerprint: str) -> None:
        self.path = Path(database_path)
        self.fingerprint = fingerprint
        key = hashlib.sha256(f"{LAYOUT} {fingerprint}".encode()).hexdigest()[:16]
        self._name = f"index_{key}"
        self._patients, self._terms, self._words, self._facts = (
            f"[{self._name}_{part}]" for part in ("patients", "terms", "terms_fts", "facts")
        )

    def is_built(self) -> bool:
        """Whether the whole index of this cohort is in the file."""
        with store.opened(self.path) as database:
            return self._is_listed(database)

    def build(
        self, patients: Iterable[dict], progress: Callable[[int], None] | None = None
    ) -> None:
        """Write the index of this cohort, replacing nothing else.

        The patients are read one by one, and nobody else has to wait meanwhile.

        Args:
            patients: one dict a patient with the `SHOWN_FIELDS` (`age` in years, `visits` a
                count, `last_admission` an ISO date) and `terms`, an iterable of
                `(kind, name, code)`: what the patient can be found by.
            progress: called with the number of patients read so far.
        """
        with store.opened(self.path) as database:
            members_of = _read(database, patients, progress)
            database.execute("BEGIN IMMEDIATE")
            try:
                if not self._is_listed(database):
                    self._write(database, members_of)
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
        if order not in ORDERS:
            raise ValueError(f"order must be one of {', '.join(ORDERS)}, not {order!r}")
        with store.opened(self.path) as database:
            self._require(database)
            ordered = self._array(database, "order", order, np.uint32)
            wanted, matched = self._with_text(database, text, len(ordered))
            for field, value in (("sex", sex), ("visit_kind", visit_kind), ("split", split)):
                if value:
                    wanted &= _members(self._array(database, field, value), len(ordered))
            if age_range:
                ages = self._array(database, "age", "", np.float32)
                wanted &= (ages >= age_range[0]) & (ages <= age_range[1])
            numbers = ordered[wanted[ordered]]
            first = (page - 1) * page_size
            shown = numbers[first : first + page_size].tolist()
            return self._rows(database, shown, matched), len(numbers)

    def facets(self) -> dict:
        """Return what can be filtered by: `ages` (lowest, highest), `sexes`, `splits`, `total`."""
        with store.opened(self.path) as database:
            self._require(database)
            ages = self._array(database, "age", "", np.float32)
            known = ages[~np.isnan(ages)]
            values = f"SELECT value FROM {self._facts} WHERE field = ? ORDER BY value"
            return {
                "total": len(ages),
                "ages": (int(known.min()), int(known.max())) if len(known) else None,
                "sexes": [value for (value,) in database.execute(values, ["sex"])],
                "splits": [value for (value,) in database.execute(values, ["split"])],
            }

    # ------------------------------------------------------------------ the list of indexes

    def _is_listed(self, database: Database) -> bool:
        listed = database["patient_indexes"]
        return listed.exists() and listed.count_where("name = ?", [self._name]) == 1

    def _require(self, database: Database) -> None:
        if not self._is_listed(database):
            raise WorkbenchError("The patient index is not there; reload the page to build it.")

    def _list(self, database: Database) -> None:
        """Enter this index in the list, and drop the oldest ones beyond `KEPT_INDEXES`."""
        listed = database["patient_indexes"]
        if not listed.exists():
            listed.create({"number": int, "name": str, "fingerprint": str}, pk="number")
        listed.insert({"name": self._name, "fingerprint": self.fingerprint})
        for old in list(listed.rows_where(order_by="number DESC", offset=KEPT_INDEXES, limit=-1)):
            database[f"{old['name']}_terms_fts"].drop(ignore=True)  # takes its shadow tables along
            for table in database.table_names():
                if table.startswith(f"{old['name']}_"):
                    database[table].drop()
            listed.delete(old["number"])

    # ------------------------------------------------------------------ building

    def _write(self, database: Database, members_of: dict[Term, array]) -> None:
        database.execute(
            f"CREATE TABLE {self._patients} (number INTEGER PRIMARY KEY, patient_id TEXT UNIQUE, "
            "sex TEXT, age INTEGER, visits INTEGER, last_admission TEXT, leading_diagnoses TEXT, "
            "split TEXT, terms BLOB)"
        )
        database.execute(f"INSERT INTO {self._patients} SELECT * FROM temp.read_patients")
        count = database.execute(f"SELECT count(*) FROM {self._patients}").fetchone()[0]

        database.execute(
            f"CREATE TABLE {self._terms} (number INTEGER PRIMARY KEY, kind TEXT, name TEXT, "
            "code TEXT, few BLOB, many BLOB)"
        )
        database.conn.executemany(
            f"INSERT INTO {self._terms} VALUES (?, ?, ?, ?, ?, ?)",
            (
                (number, *term, *_few_or_many(members, count))
                for number, (term, members) in enumerate(members_of.items())
            ),
        )
        database.execute(
            f"CREATE VIRTUAL TABLE {self._words} USING fts5(name, code, "
            f"content={self._terms}, content_rowid=number, tokenize='{TOKENIZER}', prefix='1 2 3')"
        )
        database.execute(f"INSERT INTO {self._words}({self._words}) VALUES ('rebuild')")

        database.execute(
            f"CREATE TABLE {self._facts} (field TEXT, value TEXT, content BLOB, "
            "PRIMARY KEY (field, value))"
        )
        database.conn.executemany(
            f"INSERT INTO {self._facts} VALUES (?, ?, ?)", self._facts_read(database, count)
        )

    def _facts_read(self, database: Database, count: int) -> Iterator[tuple[str, str, bytes]]:
        """Yield the arrays over all patients, as they stand in the table of facts."""

        def column(field: str, order: str = "number") -> list:
            query = f"SELECT {field} FROM {self._patients} ORDER BY {order}"
            return [value for (value,) in database.execute(query)]

        for order, terms in ORDERS.items():
            yield "order", order, np.array(column("number", terms), np.uint32).tobytes()
        yield "age", "", np.array(column("age"), np.float32).tobytes()  # None becomes not a number
        for field, expression in FILTERS.items():
            values = np.array(column(expression), object)
            for value in set(values.tolist()) - {None}:
                yield field, value, np.packbits(values == value).tobytes()

    # ------------------------------------------------------------------ searching

    def _array(self, database: Database, field: str, value: str, kind: type = np.uint8):
        """Return an array of the table of facts; without an element when there is none such."""
        query = f"SELECT content FROM {self._facts} WHERE field = ? AND value = ?"
        row = database.execute(query, [field, value]).fetchone()
        return np.frombuffer(row[0] if row else b"", kind)

    def _with_text(self, database: Database, text: str, count: int) -> tuple[np.ndarray, list]:
        """Return who has what was typed, and the terms that name each thing asked for."""
        typed = _printable(text)
        if not typed:
            return np.ones(count, bool), []
        things = list(self._things(database, text, count))
        wanted = self._with_id(database, typed)
        if things:
            wanted |= np.logical_and.reduce([members for _, members in things])
        return wanted, [terms for terms, _ in things]

    def _with_id(self, database: Database, start: str) -> np.ndarray:
        """Return whose id begins so: neighbours in the order of ids."""
        by_id = self._array(database, "order", "patient", np.uint32)
        query = (
            f"SELECT number FROM {self._patients} WHERE patient_id >= ? ORDER BY patient_id LIMIT 1"
        )

        def place(bound: str) -> int:
            """Return how many ids stand before a bound; found, not counted: that would be slow."""
            row = database.execute(query, [bound]).fetchone()
            return int(np.flatnonzero(by_id == row[0])[0]) if row else len(by_id)

        members = np.zeros(len(by_id), bool)
        members[by_id[place(start) : place(start + LAST_CHARACTER)]] = True
        return members

    def _things(
        self, database: Database, text: str, count: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield, for each thing asked for, the terms that name it and the patients who have it."""
        for part in text[:LONGEST_TEXT].split(","):
            words = [word for word in part.split() if any(map(str.isalnum, word))]
            if not words:
                continue
            together = self._named(database, words, count)
            if len(together[0]):
                yield together
            else:
                yield from (self._named(database, [word], count) for word in words)

    def _named(
        self, database: Database, words: list[str], count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the terms that have every word in them, and the patients of any of these."""
        found = database.execute(
            f"SELECT number, few, many FROM {self._terms} WHERE number IN "
            f"(SELECT rowid FROM {self._words} WHERE {self._words} MATCH ?)",
            [" AND ".join(_quoted_prefix(word) for word in words)],
        ).fetchall()
        bits = np.zeros((count + 7) // 8, np.uint8)
        for _, _, many in found:
            if many:
                bits |= np.frombuffer(many, np.uint8)
        members = _members(bits, count)
        members[np.frombuffer(b"".join(few for _, few, _ in found), np.uint32)] = True
        return np.array([number for number, _, _ in found], np.uint32), members

    def _rows(self, database: Database, numbers: list[int], matched: list) -> list[dict]:
        """Return patients as they are shown, each with the names it was found by."""
        query = (
            f"SELECT number, {', '.join(SHOWN_FIELDS)}, terms FROM {self._patients} "
            "WHERE number IN (SELECT value FROM json_each(?))"
        )
        rows = {row.pop("number"): row for row in database.query(query, [json.dumps(numbers)])}
        own = [np.frombuffer(row.pop("terms"), np.uint32) for row in rows.values()]
        found = [[terms[np.isin(terms, thing)].tolist() for thing in matched] for terms in own]
        names = self._names(database, set(chain.from_iterable(chain.from_iterable(found))))
        for row, things in zip(rows.values(), found, strict=True):
            named = (sorted((names[term] for term in thing), key=_length) for thing in things)
            in_turn = chain.from_iterable(zip_longest(*named))  # one of each thing asked for first
            row["found"] = list(dict.fromkeys(name for name in in_turn if name))
        return [rows[number] for number in numbers]

    def _names(self, database: Database, terms: set[int]) -> dict[int, str]:
        query = (
            f"SELECT number, name FROM {self._terms} "
            "WHERE number IN (SELECT value FROM json_each(?))"
        )
        return dict(database.execute(query, [json.dumps(list(terms))]))


def _read(
    database: Database, patients: Iterable[dict], progress: Callable[[int], None] | None
) -> dict[Term, array]:
    """Number the patients into a temporary table, and return the patients of every term."""
    members_of: dict[Term, array] = {}
    numbers: dict[Term, int] = {}

    def rows() -> Iterator[tuple]:
        for number, patient in enumerate(patients):
            own = array("I")
            for term in dict.fromkeys(patient["terms"]):
                if term not in numbers:
                    numbers[term] = len(numbers)
                    members_of[term] = array("I")
                own.append(numbers[term])
                members_of[term].append(number)
            yield (number, *(patient[field] for field in SHOWN_FIELDS), own.tobytes())
            if progress:
                progress(number + 1)

    fields = ", ".join(SHOWN_FIELDS)
    database.execute(f"CREATE TEMP TABLE read_patients (number, {fields}, terms)")
    values = ", ".join("?" * (len(SHOWN_FIELDS) + 2))
    database.conn.executemany(f"INSERT INTO read_patients VALUES ({values})", rows())
    database.commit()
    return members_of


def _few_or_many(members: array, count: int) -> tuple[bytes, bytes]:
    """Return a set of patients as their numbers or as one bit each, whichever is shorter."""
    numbers = np.frombuffer(members, np.uint32)
    if numbers.nbytes <= count / 8:
        return numbers.tobytes(), b""
    bits = np.zeros(count, bool)
    bits[numbers] = True
    return b"", np.packbits(bits).tobytes()


def _members(bits: np.ndarray, count: int) -> np.ndarray:
    """Return one boolean a patient; no bits at all are a set of nobody."""
    return np.unpackbits(bits, count=count).view(bool)


def _length(name: str) -> tuple[int, str]:
    return len(name), name


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
