"""A study as report.json, report.md and report.html, which needs nothing but itself.

    paths = write(report, folder)

Both texts hold the same sections: words, tables, and beside each table the command, seeds,
hardware, date and versions it came from. What was not run says "not measured".
"""

import base64
import hashlib
import json
from html import escape
from pathlib import Path

from engine.files import write_json, write_text
from engine.jobs.study_figures import figures
from engine.jobs.study_sections import Section, headline, sections
from engine.jobs.study_tables import Table
from engine.palette import FONT, INK, LINE, MUTED, SURFACE
from engine.records.quality_figures import CONFIG

CSS = f"""
* {{ box-sizing: border-box; }}
body {{ margin: 0; color: {INK}; font: 15px/1.5 {FONT}; background: #fff; }}
main {{ max-width: 1240px; margin: 0 auto; padding: 2rem 2rem 4rem; }}
h1 {{ font-size: 1.6rem; line-height: 1.35; font-weight: 650; margin: .2rem 0 1rem;
  max-width: 60rem; text-wrap: balance; }}
h2 {{ font-size: 1.25rem; font-weight: 600; margin: 2.6rem 0 .3rem; }}
h3 {{ font-size: .98rem; font-weight: 600; margin: 1.4rem 0 .3rem; }}
p {{ max-width: 62rem; margin: 0 0 .7rem; }}
.over, .beside {{ color: {MUTED}; font-size: .86rem; overflow-wrap: anywhere;
  margin-top: .35rem; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .88rem; line-height: 1.4;
  font-variant-numeric: tabular-nums; }}
th {{ text-align: left; color: {MUTED}; font-size: .82rem; font-weight: 600;
  border-bottom: 1px solid {LINE}; padding: .2rem 1.1rem .25rem 0; vertical-align: bottom; }}
td {{ border-bottom: 1px solid {SURFACE}; padding: .2rem 1.1rem .2rem 0; }}
td:first-child {{ min-width: 15rem; }}
td.n, th.n {{ text-align: right; white-space: nowrap; }}
footer {{ margin-top: 3rem; padding-top: .8rem; border-top: 1px solid {LINE}; color: {MUTED};
  font-size: .85rem; }}
@media print {{ section {{ break-inside: avoid; }} }}
"""

DRAW = """
const charts = JSON.parse(document.getElementById("charts").textContent);
for (const [name, chart] of Object.entries(charts.figures)) {
  Plotly.newPlot("chart-" + name, chart.data, chart.layout, charts.config);
}
"""
FOOT = "Made by the medication workbench. For research; a clinician decides."


def write(report: dict, folder: Path) -> list[Path]:
    """Write report.json, report.md and report.html into `folder`; returns their paths."""
    paths = [folder / f"report.{ending}" for ending in ("json", "md", "html")]
    write_json(paths[0], report)
    write_text(paths[1], markdown(report))
    write_text(paths[2], html(report))
    return paths


def markdown(report: dict) -> str:
    """Return the report as Markdown."""
    lines = [f"# {headline(report)}", ""]
    for section in sections(report):
        lines += [f"## {section.title}", ""]
        for paragraph in section.words:
            lines += [paragraph, ""]
        for table in section.tables:
            lines += [f"### {table.title}", "", *_markdown_table(table), ""]
            lines += [f"*{_unstarred(note)}*\n" for note in table.beside]
    return "\n".join([*lines, FOOT, ""])


def html(report: dict) -> str:
    """Return the report as one page; it loads nothing from anywhere."""
    from plotly.offline import get_plotlyjs  # four megabytes of text: only where it is written

    library, drawn = get_plotlyjs(), figures(report)
    charts = {
        "config": CONFIG,
        "figures": {name: json.loads(figure.to_json()) for name, figure in drawn.items()},
    }
    # Inside <script>, only "<" could end it.
    embedded = json.dumps(charts, sort_keys=True, separators=(",", ":")).replace("<", "\\u003c")
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; "
        f"script-src {_hash(library)} {_hash(DRAW)}; base-uri 'none'; form-action 'none'"
    )
    body = "".join(_section(section, drawn) for section in sections(report))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Study</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
        f'<p class="over">A study of medication recommenders</p>\n<h1>{escape(headline(report))}'
        f"</h1>\n{body}<footer>{FOOT}</footer>\n</main>\n"
        f'<script type="application/json" id="charts">{embedded}</script>\n'
        f"<script>{library}</script>\n<script>{DRAW}</script>\n</body>\n</html>\n"
    )


def _section(section: Section, drawn: dict) -> str:
    words = "".join(f"<p>{escape(paragraph)}</p>\n" for paragraph in section.words)
    charts = "".join(
        f'<div id="chart-{name}" role="img" aria-label="{escape(section.title)}"></div>\n'
        for name in section.figures
        if name in drawn
    )
    tables = "".join(_html_table(table) for table in section.tables)
    return (
        f'<section id="{section.key}">\n<h2>{escape(section.title)}</h2>\n'
        f"{words}{charts}{tables}</section>\n"
    )


def _html_table(table: Table) -> str:
    def row(cells: list[str], tag: str) -> str:
        named = f"<{tag}>{escape(cells[0])}</{tag}>"
        rest = "".join(f'<{tag} class="n">{escape(cell)}</{tag}>' for cell in cells[1:])
        return f"<tr>{named}{rest}</tr>\n"

    rows = "".join(row(cells, "td") for cells in table.rows)
    beside = "".join(f'<p class="beside">{escape(note)}</p>\n' for note in table.beside)
    return (
        f'<h3>{escape(table.title)}</h3>\n<div class="wide"><table>\n{row(table.header, "th")}'
        f"{rows}</table></div>\n{beside}"
    )


def _markdown_table(table: Table) -> list[str]:
    """Return a table with padded cells: names to the left, numbers to the right."""
    lines = [[cell.replace("|", "\\|") for cell in row] for row in [table.header, *table.rows]]
    widths = [max(len(row[column]) for row in lines) for column in range(len(table.header))]

    def line(cells: list[str]) -> str:
        numbers = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
        return "| " + " | ".join([cells[0].ljust(widths[0]), *numbers]) + " |"

    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (w + 1) + ":" for w in widths[1:])]) + "|"
    return [line(lines[0]), rule, *map(line, lines[1:])]


def _unstarred(text: str) -> str:
    return text.replace("*", "\\*")


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
