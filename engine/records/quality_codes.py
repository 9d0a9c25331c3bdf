"""What there is to know about the codes of a cohort: how frequent, how titled, how translated.

A part of `engine.records.quality`, with the same promise: counts only, in whole numbers.
"""

from collections.abc import Mapping

import duckdb

from engine.terminology import atc, crosswalk, icd

MOST_FREQUENT = 25  # codes of each kind that are listed
LONGEST_TITLE = 100  # characters
HELD_BY = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000)
SINGULAR = {"diagnoses": "diagnosis", "procedures": "procedure"}
# How an ICD-9 diagnosis fared on the way to ICD-10, the surest first.
TRANSLATIONS = ("identical", "near", "chosen", "part", "left")


def counts(connection: duckdb.DuckDBPyConnection, kind: str) -> dict[str, dict[str, int]]:
    """Return code → split → visits that hold it."""
    found: dict[str, dict[str, int]] = {}
    for code, split, visits in connection.execute(
        f"SELECT code, split, count(*) FROM (SELECT unnest({kind}) AS code, split "
        "FROM visits JOIN splits USING (patient_id)) GROUP BY ALL ORDER BY ALL"
    ).fetchall():
        found.setdefault(code, {})[split] = visits
    return found


def frequency(kind: str, counts: dict[str, dict[str, int]], titles: Mapping) -> dict:
    """Return the most frequent codes of a kind and how long the tail of rare ones is."""
    frequent = sorted(
        ((sum(splits.values()), code) for code, splits in counts.items()),
        key=lambda pair: (-pair[0], pair[1]),
    )
    held, held_by = 0, []
    for place, (visits, _) in enumerate(frequent, start=1):
        held += visits
        if place in HELD_BY or place == len(frequent):
            held_by.append([place, held])
    return {
        "distinct": len(frequent),
        "rows": held,
        "once": sum(visits == 1 for visits, _ in frequent),
        "top": [
            {"code": code, "title": _title(kind, code, titles), "visits": visits}
            for visits, code in frequent[:MOST_FREQUENT]
        ],
        "held_by": held_by,  # most frequent so many codes → rows they hold together
    }


def title_coverage(kind: str, counts: dict[str, dict[str, int]], titles: Mapping) -> dict:
    """Return codes and rows by where their title comes from."""
    coverage = {origin: {"codes": 0, "rows": 0} for origin in ("source", "engine", "none")}
    for code, splits in counts.items():
        own = titles.get(SINGULAR[kind], {}).get(code)
        origin = "source" if own else "engine" if icd.title(SINGULAR[kind], code) else "none"
        coverage[origin]["codes"] += 1
        coverage[origin]["rows"] += sum(splits.values())
    return coverage


def translation(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, int]]:
    """Return ICD-9 diagnoses, codes and rows, by how sure their ICD-10 code is (`TRANSLATIONS`).

    "identical": the map has a single target and calls it the same; "near": a single one, close in
    meaning; "chosen": one of several; "part": one part of a combination that the map needs whole;
    "left": no target, or no single equivalent, so that the ICD-9 code stays.
    """
    found = {name: {"codes": 0, "rows": 0} for name in TRANSLATIONS}
    for code, rows in connection.execute("""
        SELECT written, count(*) FROM checked_diagnoses
        WHERE problem IS NULL AND starts_with(written, '9:') GROUP BY written
    """).fetchall():
        place = found[_translated(crosswalk.equivalent(code))]
        place["codes"] += 1
        place["rows"] += rows
    return found


def _translated(target: crosswalk.Equivalent | None) -> str:
    if target is None:
        return "left"
    if target.part:
        return "part"
    if target.choices > 1:
        return "chosen"
    return "identical" if target.exact else "near"


def _title(kind: str, code: str, titles: Mapping) -> str | None:
    if kind == "medications":
        return atc.name(code)
    own = titles.get(SINGULAR[kind], {}).get(code)
    title = own or icd.title(SINGULAR[kind], code)
    return title and title[:LONGEST_TITLE]
