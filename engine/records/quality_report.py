"""The quality report: sections of charts and tables, and one page that needs nothing but itself.

    quality.html    written beside a cohort by `python -m engine ingest`

The app's page draws the same sections. Drug names, titles and the names of tables come from the
data and are escaped wherever they stand; the page's own policy lets no other script run and loads
nothing from anywhere.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from html import escape
from pathlib import Path

from engine.files import read_json, write_text
from engine.palette import (
    CARE,
    CARE_LINE,
    CARE_TINT,
    FONT,
    GROUND,
    INK,
    LINE,
    MUTED,
    PRIMARY,
    PRIMARY_EDGE,
    PRIMARY_LIGHT,
    PRIMARY_TINT,
    SURFACE,
)
from engine.records import quality_choices
from engine.records import quality_findings as findings
from engine.records import quality_tables as tables
from engine.records.quality_figures import CONFIG, figures

__all__ = ["FILES", "Piece", "Section", "figures", "html", "overview", "read", "sections", "write"]

FILES = ("quality.json", "quality.html")  # beside a cohort's own files
FORMAT = 2  # of quality.json; raised when a fact changes its meaning

CSS = f"""
.qr-cards {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr));
  gap: .8rem; }}
.qr-card {{ border: 1px solid {LINE}; border-radius: .4rem; padding: .6rem .85rem; }}
.qr-card .title {{ font-weight: 600; font-size: .9rem; color: {MUTED}; }}
.qr-card .big {{ font-size: 1.55rem; font-weight: 650; line-height: 1.3;
  font-variant-numeric: tabular-nums; }}
.qr-card .note {{ color: {MUTED}; font-size: .85rem; line-height: 1.4; }}
.qr-first {{ border: 1px solid {LINE}; border-radius: .4rem; background: {SURFACE};
  padding: .8rem 1.1rem; margin: 1rem 0 0; }}
.qr-first h3 {{ font-size: 1.02rem; margin: 0 0 .4rem; padding: 0; }}
.qr-first ul {{ list-style: none; margin: 0; padding: 0; }}
.qr-first li {{ display: grid; grid-template-columns: 6.4rem 1fr; gap: .6rem; margin: 0;
  padding: .2rem 0; font-size: .95rem; line-height: 1.45; overflow-wrap: anywhere; }}
.qr-tag {{ justify-self: start; align-self: start; border-radius: 1rem; padding: .02rem .55rem;
  font-size: .8rem; font-weight: 600; border: 1px solid {LINE}; background: {GROUND};
  color: {MUTED}; white-space: nowrap; }}
.qr-tag.look {{ background: {CARE_TINT}; border-color: {CARE_LINE}; color: {CARE}; }}
.qr-tag.fine {{ background: {PRIMARY_TINT}; border-color: {PRIMARY_EDGE}; color: {PRIMARY}; }}
.qr-table {{ border-collapse: collapse; width: 100%; margin: 0; font-size: .88rem;
  line-height: 1.4; font-variant-numeric: tabular-nums; }}
.qr-table th {{ text-align: left; font-weight: 600; color: {MUTED}; font-size: .82rem;
  border: 0; border-bottom: 1px solid {LINE}; padding: .2rem .8rem .25rem 0;
  vertical-align: bottom; }}
.qr-table td {{ border: 0; border-bottom: 1px solid {SURFACE}; padding: .18rem .8rem .18rem 0;
  vertical-align: top; overflow-wrap: anywhere; }}
.qr-table .n {{ text-align: right; white-space: nowrap; width: 1%; }}
.qr-table th.n {{ white-space: normal; }}
.qr-table.slim th.n {{ min-width: 4.6rem; }}
.qr-table.slim {{ max-width: 62rem; }}
.qr-table td.clip span {{ display: -webkit-box; -webkit-line-clamp: 2; line-clamp: 2;
  -webkit-box-orient: vertical; overflow: hidden; }}
.qr-muted {{ color: {MUTED}; }}
.qr-table .code {{ white-space: nowrap; width: 1%; color: {MUTED}; }}
.qr-table tr.look td {{ color: {CARE}; font-weight: 600; }}
.qr-table tr.sub td {{ color: {MUTED}; border-bottom: 0; }}
.qr-bar {{ display: block; height: .55rem; min-width: 1px; border-radius: 1px;
  background: {PRIMARY_LIGHT}; margin-top: .32rem; }}
.qr-table td.bar {{ width: 30%; }}
"""

PAGE_CSS = f"""
* {{ box-sizing: border-box; }}
body {{ margin: 0; color: {INK}; font: 15px/1.5 {FONT}; background: #fff; }}
main {{ max-width: 1240px; margin: 0 auto; padding: 2rem 2rem 4rem; }}
h1 {{ font-size: 1.75rem; line-height: 1.3; font-weight: 650; margin: .2rem 0 1.2rem;
  max-width: 60rem; text-wrap: balance; }}
h2 {{ font-size: 1.25rem; font-weight: 600; margin: 2.6rem 0 .1rem; }}
h3 {{ font-size: .98rem; font-weight: 600; margin: 0 0 .3rem; }}
.over {{ color: {MUTED}; margin: 0; font-size: .9rem; }}
.reading {{ color: {MUTED}; margin: 0 0 .9rem; max-width: 62rem; }}
.grid {{ display: grid; gap: 1.6rem 2.2rem; align-items: start; }}
.grid > div {{ min-width: 0; }}
.two {{ grid-template-columns: repeat(2, minmax(0, 1fr)); }}
.three {{ grid-template-columns: repeat(3, minmax(0, 1fr)); }}
footer {{ margin-top: 3rem; padding-top: .8rem; border-top: 1px solid {LINE}; color: {MUTED};
  font-size: .85rem; }}
@media (max-width: 900px) {{ .two, .three {{ grid-template-columns: minmax(0, 1fr); }}
  main {{ padding: 1rem 1rem 3rem; }} .qr-first li {{ grid-template-columns: 1fr; gap: 0; }} }}
@media print {{ h2, .grid > div {{ break-inside: avoid; }} }}
"""

DRAW = """
const charts = JSON.parse(document.getElementById("charts").textContent);
for (const [name, chart] of Object.entries(charts.figures)) {
  Plotly.newPlot("chart-" + name, chart.data, chart.layout, charts.config);
}
"""


@dataclass(frozen=True, slots=True)
class Piece:
    """A chart, by its name in `figures`, or a table, as HTML."""

    title: str
    figure: str | None = None
    table: str | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report; `columns` is how many pieces stand side by side."""

    key: str
    title: str
    reading: str  # how to read it, and what would be unusual
    pieces: tuple[Piece, ...]
    columns: int = 2


def overview(facts: dict) -> str:
    """Return the key numbers and what to read first, as HTML."""
    cards = "".join(
        f'<div class="qr-card"><div class="title">{escape(card.title)}</div>'
        f'<div class="big">{escape(card.value)}</div>'
        f'<div class="note">{escape(card.note)}</div></div>'
        for card in findings.cards(facts)
    )
    notices = findings.notices(facts)
    items = [
        _item("look into", "look", notice.text)
        if notice.look
        else _item("good to know", "", notice.text)
        for notice in notices
    ]
    if not any(notice.look for notice in notices):
        items.insert(0, _item("in order", "fine", "Nothing in these data asks for a second look."))
    return (
        f'<div class="qr-cards">{cards}</div>'
        f'<div class="qr-first"><h3>Read this first</h3><ul>{"".join(items)}</ul></div>'
    )


def sections(facts: dict) -> list[Section]:
    """Return every section, in reading order."""
    return [
        Section(
            "rows",
            "What became of every row",
            "Each bar is a table of the export. Orange rows could not be used; the list says why. "
            "Grey ones are set aside on purpose: supplies and flushes are no medication, and what "
            "is no hospital stay takes its rows along.",
            (Piece("Rows kept", figure="rows"), Piece("In numbers", table=tables.rows(facts))),
        ),
        Section(
            "missing",
            "What is missing",
            "How often a field is empty, for visits and, where it says so, for prescriptions. "
            "Nothing is guessed or filled in: models read an empty field as not known. Orange is "
            "more than usual. Many stays have no coded procedure.",
            (Piece("Share of empty values", figure="missing"),),
            columns=1,
        ),
        Section(
            "patients",
            "Who the patients are",
            "A model learns about those whom it sees often. Returning patients have a history to "
            "read; first visits do not.",
            (
                Piece("Visits of each patient", figure="visits_per_patient"),
                Piece("Age and sex at each visit", figure="ages"),
            ),
        ),
        Section(
            "visits",
            "What a visit holds",
            "A smooth hill is usual. A spike at one number, or a wall at the right, often means "
            "that an export was cut off at so many codes. A last bar marked + gathers the rest.",
            (
                Piece("Length of stay", figure="stays"),
                Piece("Medication groups of a visit", figure="medications_per_visit"),
                Piece("Diagnoses of a visit", figure="diagnoses_per_visit"),
                Piece("Procedures of a visit", figure="procedures_per_visit"),
            ),
        ),
        Section(
            "codes",
            "Which codes are frequent",
            "The most frequent codes and the share of visits that hold them. Illnesses common in "
            "your wards should be here; one that surprises you is worth a question.",
            tuple(
                Piece(f"Most frequent {name}", table=tables.frequent(facts, kind))
                for kind, name in findings.PLURALS.items()
            ),
            columns=3,
        ),
        Section(
            "tail",
            "How long the tail of rare codes is",
            "A line that climbs early says that few codes make up most of the record. What is "
            "seen once cannot be learned as a code; the teacher still reads its title. The "
            "vocabulary is what models learn: codes of the training patients.",
            (
                Piece("Share held by the most frequent codes", figure="long_tail"),
                Piece("In numbers", table=tables.tail(facts)),
            ),
        ),
        Section(
            "mapping",
            "How names and codes are understood",
            "Drug names become medication groups (ATC, third level), codes become titles. A "
            "frequent name among those not recognised is worth reporting: it is left out today. "
            "Counted are the prescriptions of this cohort's visits.",
            (
                Piece("Drug names", figure="drugs"),
                Piece("Names not recognised", table=tables.unmapped(facts)),
                Piece("By which rule", table=tables.rules(facts)),
                Piece("Titles of codes", table=tables.titles(facts)),
                *(
                    [Piece("From ICD-9 to ICD-10", table=tables.translation(facts))]
                    if facts["crosswalk"]
                    else []
                ),
            ),
        ),
        Section(
            "years",
            "Diagnoses by year",
            "Hospitals changed from ICD-9 to ICD-10 once, in the United States in October 2015. "
            "Where dates are shifted to protect patients, both run side by side. A "
            "gap is unusual in a large cohort.",
            (Piece("Diagnoses by year of admission and version", figure="years"),),
            columns=1,
        ),
        Section(
            "times",
            "Times that cannot be right",
            "Counted for every visit and prescription that was kept. A few are found in any "
            "hospital; many of one kind point to a mistake in the export.",
            (Piece("", table=tables.times(facts)),),
            columns=1,
        ),
        Section(
            "splits",
            "Who trains and who tests",
            "Patients, not visits, are divided. Codes that training patients never had are "
            f"unknown to the student{_limits(facts)}.",
            (Piece("", table=tables.splits(facts)),),
            columns=1,
        ),
    ]


def html(facts: dict) -> str:
    """Return the whole report as one page: no network, and the same facts give the same bytes."""
    from plotly.offline import get_plotlyjs  # four megabytes of text: only where it is written

    library = get_plotlyjs()
    charts = {
        "config": CONFIG,
        "figures": {name: json.loads(figure.to_json()) for name, figure in figures(facts).items()},
    }
    # Inside <script>, only "<" could end it.
    embedded = json.dumps(charts, sort_keys=True, separators=(",", ":")).replace("<", "\\u003c")
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; "
        f"script-src {_hash(library)} {_hash(DRAW)}; base-uri 'none'; form-action 'none'"
    )
    body = "".join(_section(section) for section in sections(facts))
    title = findings.headline(facts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Data quality</title>\n<style>{PAGE_CSS}{CSS}</style>\n</head>\n<body>\n<main>\n"
        f'<p class="over">Data quality of a cohort from {escape(facts["source"])}</p>\n'
        f"<h1>{escape(title)}</h1>\n{overview(facts)}\n{body}"
        f"<footer>{escape(findings.SHOWN)} Made by the medication workbench when the cohort was "
        "ingested. Decision support for research; a clinician decides."
        "</footer>\n</main>\n"
        f'<script type="application/json" id="charts">{embedded}</script>\n'
        f"<script>{library}</script>\n<script>{DRAW}</script>\n</body>\n</html>\n"
    )


def write(folder: Path, facts: dict) -> None:
    """Write quality.json and quality.html."""
    content = json.dumps({"format": FORMAT, **facts}, indent=1, ensure_ascii=False) + "\n"
    write_text(folder / "quality.json", content)
    write_text(folder / "quality.html", html(facts))


def read(folder: Path) -> dict | None:
    """Return the facts beside a cohort; None where there are none, or another version's."""
    path = folder / "quality.json"
    if not path.exists():
        return None
    facts = read_json(path, "ingest the cohort again")
    return facts if facts.get("format") == FORMAT else None


def _limits(facts: dict) -> str:
    kept = {kind: quality_choices.limit(facts["options"], kind) for kind in findings.PLURALS}
    said = "; ".join(f"{kind}, {limit}" for kind, limit in kept.items() if limit)
    return f", and so are those that the vocabulary leaves out by choice ({said})" * bool(said)


def _item(tag: str, kind: str, text: str) -> str:
    return f'<li><span class="qr-tag {kind}">{tag}</span><span>{escape(text)}</span></li>'


def _section(section: Section) -> str:
    width = {1: "", 2: " two", 3: " three"}[section.columns]
    pieces = "".join(_piece(piece) for piece in section.pieces)
    return (
        f'<section id="{section.key}">\n<h2>{escape(section.title)}</h2>\n'
        f'<p class="reading">{escape(section.reading)}</p>\n'
        f'<div class="grid{width}">\n{pieces}</div>\n</section>\n'
    )


def _piece(piece: Piece) -> str:
    title = f"<h3>{escape(piece.title)}</h3>" if piece.title else ""
    if piece.figure:
        label = escape(piece.title)
        drawn = f'<div id="chart-{piece.figure}" role="img" aria-label="{label}"></div>'
        return f"<div>{title}{drawn}</div>\n"
    return f"<div>{title}{piece.table}</div>\n"


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
