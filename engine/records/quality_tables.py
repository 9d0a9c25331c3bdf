"""The tables of the quality report as HTML, made from `engine.records.quality.facts`.

Whatever comes from the data is escaped here.
"""

from collections.abc import Sequence
from html import escape

from engine.records import quality_findings as findings
from engine.records.funnel import rarer_names
from engine.records.quality_findings import number, share

SHORT = 12  # characters
RULES = {
    "name": "the name as written",
    "pattern": "a pattern, such as a fluid",
    "combination": "the names of a combination",
    "code": "the code of the product",
    "code and name": "the code of the product and the name",
    "code against the name": "the code of the product, against the name",
    "start of a name": "a name that was cut off",
}
TRANSLATIONS = {
    "identical": "has one target, which the map calls the same",
    "near": "has one target, close in meaning",
    "chosen": "has several targets, of which one was chosen",
    "part": "became one part of a combination",
    "left": "has no single target, and stays",
}


def rows(facts: dict) -> str:
    """Return what became of the rows of each table, with every reason."""
    lines: list[tuple[str, Sequence[str]]] = []
    for table in facts["tables"]:
        dropped = table["read"] - table["kept"]
        counts = [number(table["read"]), number(table["kept"]), number(dropped)]
        lines.append(("", [escape(table["table"]), *counts]))
        for why, times in table["dropped"]:
            lines.append(("sub", [f"— {escape(why)}", "", "", number(times)]))
        for why, times in table["emptied"]:
            lines.append(("sub", [f"— kept, {escape(why)}", "", number(times), ""]))
    for name in facts["absent"]:
        lines.append(("sub", [f"{escape(name)}: not in the export", "", "", ""]))
    return _table((("table", ""), ("read", "n"), ("kept", "n"), ("left out", "n")), lines)


def frequent(facts: dict, kind: str) -> str:
    """Return the most frequent codes of a kind."""
    codes = facts["codes"][kind]
    lines = [
        (
            "",
            [
                _code(entry["code"]),
                _clipped(entry["title"] or "no title"),
                number(entry["visits"]),
                share(entry["visits"], facts["visits"]),
            ],
        )
        for entry in codes["top"]
    ]
    return _table((("code", "code"), ("title", "clip"), ("visits", "n"), ("share", "n")), lines)


def tail(facts: dict) -> str:
    """Return how the rows spread over the codes of each kind."""
    lines = []
    for kind, name in findings.PLURALS.items():
        codes = facts["codes"][kind]
        held = dict(map(tuple, codes["held_by"]))
        lines.append(
            (
                "",
                [
                    name,
                    number(codes["distinct"]),
                    number(facts["vocabulary"][kind]),
                    number(codes["rows"]),
                    share(codes["once"], codes["distinct"]),
                    *(share(held.get(most, codes["rows"]), codes["rows"]) for most in (10, 100)),
                ],
            )
        )
    return _table(
        (
            ("", ""),
            ("different codes", "n"),
            ("in the vocabulary", "n"),
            ("entries", "n"),
            ("codes seen once", "n"),
            ("held by the top 10", "n"),
            ("by the top 100", "n"),
        ),
        lines,
    )


def unmapped(facts: dict) -> str:
    """Return the frequent drug names that nobody recognised, and how many others there are."""
    names, rarer = facts["drugs"]["unmapped"], facts["drugs"]["rarer"]
    if not names and not rarer["names"]:
        return '<p class="qr-muted">Every drug name was recognised.</p>'
    most = max(rarer["rows"], *(times for _, times in names), 1)
    lines = [("", [escape(name), number(times), _bar(times, most)]) for name, times in names]
    if rarer["names"]:
        text = rarer_names(rarer["names"], rarer["rows"])
        lines.append(("sub", [text, number(rarer["rows"]), _bar(rarer["rows"], most)]))
    return _table((("as written", ""), ("prescriptions", "n"), ("", "bar")), lines)


def rules(facts: dict) -> str:
    """Return how many prescriptions were understood by which rule."""
    total = sum(facts["drugs"]["rows"].values())
    lines = [
        (
            "look" if rule["kind"] == "unmapped" and rule["rows"] > 0.01 * total else "",
            [
                {"mapped": "medication", "non_drug": "no drug"}.get(rule["kind"], "not recognised"),
                escape(RULES.get(rule["rule"], rule["rule"])),
                number(rule["rows"]),
                share(rule["rows"], total),
            ],
        )
        for rule in facts["drugs"]["rules"]
    ]
    return _table((("became", ""), ("by", ""), ("prescriptions", "n"), ("share", "n")), lines)


def titles(facts: dict) -> str:
    """Return where titles come from."""
    lines = []
    for kind, coverage in facts["titles"].items():
        codes = sum(part["codes"] for part in coverage.values())
        entries = sum(part["rows"] for part in coverage.values())
        for origin, name in (
            ("source", "the hospital's own"),
            ("engine", "the public releases"),
            ("none", "no title"),
        ):
            part = coverage[origin]
            if part["codes"]:
                look = "look" if origin == "none" and part["rows"] > 0.005 * entries else ""
                cells = [kind, name, number(part["codes"]), share(part["codes"], codes)]
                lines.append((look, [*cells, share(part["rows"], entries)]))
    heads = (("", ""), ("title from", ""), ("codes", "n"), ("of codes", "n"), ("of entries", "n"))
    return _table(heads, lines)


def translation(facts: dict) -> str:
    """Return how sure the ICD-10 codes are that ICD-9 diagnoses were translated to."""
    parts = facts["crosswalk"]
    codes = sum(part["codes"] for part in parts.values())
    entries = sum(part["rows"] for part in parts.values())
    lines = [
        (
            "",
            [
                name,
                number(parts[key]["codes"]),
                share(parts[key]["codes"], codes),
                number(parts[key]["rows"]),
                share(parts[key]["rows"], entries),
            ],
        )
        for key, name in TRANSLATIONS.items()
    ]
    heads = (
        ("an ICD-9 code", ""),
        ("codes", "n"),
        ("of codes", "n"),
        ("entries", "n"),
        ("of entries", "n"),
    )
    return _table(heads, lines)


def times(facts: dict) -> str:
    """Return every check of a time and what it found."""
    lines = [
        (
            "look" if _is_many(row) else "",
            [
                f"{escape(row['what'].capitalize())}"
                f'<br><span class="qr-muted">{escape(row["of"].capitalize())} that '
                f"{escape(findings.TIMES[row['what']])}</span>",
                number(row["found"]) if row["found"] else "none",
                f"{number(row['rows'])} {row['of']}",
                share(row["found"], row["rows"]) if row["found"] else "",
            ],
        )
        for row in facts["times"]
    ]
    heads = (("", ""), ("found", "n"), ("of", "n"), ("share", "n"))
    return _table(heads, lines, "slim")


def splits(facts: dict) -> str:
    """Return the size of each split and what its models do not know."""
    lines = [
        (
            "",
            [
                escape(split["split"]),
                number(split["patients"]),
                share(split["patients"], facts["patients"]),
                number(split["visits"]),
                number(split["labelled"]),
                *(
                    share(split[kind]["unknown_rows"], split[kind]["rows"])
                    for kind in findings.PLURALS
                ),
            ],
        )
        for split in facts["splits"]
    ]
    heads = (
        ("", ""),
        ("patients", "n"),
        ("share", "n"),
        ("visits", "n"),
        ("usable for learning", "n"),
        *((f"unknown {name}", "n") for name in findings.PLURALS.values()),
    )
    return _table(heads, lines, "slim")


def _table(
    heads: Sequence[tuple[str, str]], rows: Sequence[tuple[str, Sequence[str]]], look: str = ""
) -> str:
    """Return a table; a head is (text, class of its column), a row (its class, cells as HTML)."""
    head = "".join(
        f'<th class="{kind}">{escape(_kept_together(text))}</th>' for text, kind in heads
    )
    body = "".join(
        f'<tr class="{kind}">'
        + "".join(
            f'<td class="{column}">{cell}</td>'
            for (_, column), cell in zip(heads, cells, strict=True)
        )
        + "</tr>"
        for kind, cells in rows
    )
    return (
        f'<table class="qr-table {look}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def _kept_together(text: str) -> str:
    """Return a short heading with spaces that do not break."""
    return text.replace(" ", "\u00a0") if len(text) <= SHORT else text


def _bar(part: int, whole: int) -> str:
    return f'<span class="qr-bar" style="width:{100 * part / whole if whole else 0:.1f}%"></span>'


def _clipped(text: str) -> str:
    """Return two lines of a text, the whole of it in the hover."""
    return f'<span title="{escape(text)}">{escape(text)}</span>'


def _code(code: str) -> str:
    """Return a code as a person writes it, its ICD version where there is one in the hover."""
    version, colon, bare = code.rpartition(":")
    return f'<span title="ICD-{escape(version)}">{escape(bare)}</span>' if colon else escape(code)


def _is_many(row: dict) -> bool:
    limit = findings.UNREMARKABLE.get(row["what"], findings.WRONG_TIMES)
    return row["found"] > limit * row["rows"]
