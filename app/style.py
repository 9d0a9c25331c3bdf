"""The one visual language: colours, type and spacing of every page and chart."""

from functools import cache
from html import escape

import plotly.graph_objects as go
import streamlit as st

from engine.palette import (
    CARE,
    CARE_EDGE,
    CARE_LINE,
    CARE_TINT,
    DARK,
    FONT,
    GREY,
    GREY_STRONG,
    GROUND,
    INK,
    LINE,
    MUTED,
    ORANGE,
    ORANGE_LIGHT,
    PRIMARY,
    PRIMARY_EDGE,
    PRIMARY_LIGHT,
    PRIMARY_TINT,
    STOP,
    STOP_EDGE,
    STOP_LINE,
    STOP_TINT,
    SURFACE,
    VIOLET,
    VIOLET_LIGHT,
    for_both,
)

# Who proposes a medication group: (teacher's bar, student's bar, words), told apart by lightness
# too.
AGREEMENT = {
    "both": (PRIMARY, PRIMARY_LIGHT, PRIMARY),
    "teacher": (VIOLET, VIOLET_LIGHT, VIOLET),
    "student": (ORANGE, ORANGE_LIGHT, CARE),
    "neither": (GREY_STRONG, GREY, MUTED),
    "waiting": (PRIMARY, PRIMARY_LIGHT, PRIMARY),
}
AGREEMENT_LABEL = {
    "both": "Both propose",
    "teacher": "Only the teacher",
    "student": "Only the student",
    "neither": "Neither, but given last time",
    "waiting": "The student; no answer of the teacher yet",
}

_CSS = f"""
.block-container, [data-testid="stMainBlockContainer"] {{ max-width: 1560px;
  padding-left: 2.2rem; padding-right: 2.2rem; }}
.st-key-patients [data-testid="stElementToolbar"],
.st-key-audit-rows [data-testid="stElementToolbar"] {{ display: none; }} /* would cover the pages */
.wb-muted {{ color: {MUTED}; }}
[data-testid="stCode"] .token.parameter {{ color: {INK} !important; }} /* its yellow, too */
div[data-testid="stCaptionContainer"] {{ opacity: 1; }} /* Streamlit's own is too pale */
[data-testid="stCaptionContainer"] p {{ color: {MUTED}; }}
.wb-small {{ font-size: .87rem; line-height: 1.45; }}
.wb-number {{ font-variant-numeric: tabular-nums; }}
.wb-header {{ display: flex; flex-wrap: wrap; align-items: baseline; gap: .35rem .8rem; }}
.wb-header h1 {{ font-size: 1.7rem; font-weight: 650; margin: 0; padding: 0; color: {INK}; }}
.wb-badge {{ display: inline-block; padding: .08rem .55rem; border-radius: 1rem; font-size: .82rem;
  font-weight: 600; border: 1px solid {LINE}; background: {SURFACE}; color: {MUTED}; }}
.wb-badge.strong {{ background: {PRIMARY_TINT}; border-color: {PRIMARY_EDGE}; color: {PRIMARY}; }}
.wb-badge.warn {{ background: {CARE_TINT}; border-color: {CARE_LINE}; color: {CARE}; }}
.wb-facts {{ display: flex; flex-wrap: wrap; gap: .2rem 2.6rem; margin-top: .5rem; }}
.wb-fact .label {{ color: {MUTED}; font-size: .8rem; }}
.wb-fact .value {{ font-weight: 600; font-variant-numeric: tabular-nums; }}
.wb-notice {{ background: {CARE_TINT}; border: 1px solid {CARE_LINE};
  border-left: 4px solid {CARE_EDGE}; border-radius: .4rem; padding: .45rem .8rem; }}
.wb-notice b {{ color: {CARE}; }}
.wb-notice.error {{ background: {STOP_TINT}; border-color: {STOP_LINE};
  border-left-color: {STOP_EDGE}; }}
.wb-sign-in {{ margin-top: 5vh; text-align: center; }}
.wb-sign-in h1 {{ font-size: 1.7rem; font-weight: 650; margin: 0; padding: 0; color: {INK}; }}
.wb-foot {{ text-align: center; }}
.st-key-demonstration .title {{ font-weight: 600; }}
[data-testid="stLayoutWrapper"]:has(> .st-key-sign-in) {{ align-self: center; }}
[data-testid^="stBaseButton-primary"]:enabled {{ color: {GROUND} !important; }} /* not white */
[data-testid="stMultiSelect"] [data-tag] {{ background: {PRIMARY_TINT}; color: {INK};
  box-shadow: inset 0 0 0 1px {PRIMARY_EDGE}; }}
[data-testid="stLayoutWrapper"]:has(> .st-key-theme) {{ position: absolute; }}
[data-testid="stStatusWidget"] {{ display: none; }} /* what is still to come says so in its place */
[data-testid="stMainMenuButton"]::before {{ content: "contrast"; font-size: 1.3rem;
  font-family: "Material Symbols Rounded"; }} /* the menu is that of the theme */
[data-testid="stMainMenuButton"] > * {{ display: none; }}
[data-testid="stApp"]:has(.st-key-account) [data-testid="stToolbar"] {{ box-sizing: border-box;
  padding-right: 14rem; }} /* the account's place */
[data-testid="stLayoutWrapper"]:has(> .st-key-account) {{ position: absolute; }}
.st-key-account {{ position: fixed; top: .5rem; right: 1.4rem; height: 2.6rem; width: auto;
  gap: 1.1rem; z-index: 1000000; }}
.wb-account {{ line-height: 1.25; text-align: right; max-width: 8.6rem; }}
.wb-account div {{ overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }}
.wb-account .name {{ font-size: .93rem; font-weight: 600; }}
.wb-account .role {{ font-size: .8rem; color: {MUTED}; }}
.wb-cards {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(235px, 1fr));
  gap: .8rem; }}
.wb-cards.narrow {{ grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }}
.wb-cards.five {{ grid-template-columns: repeat(auto-fit, minmax(205px, 1fr)); }}
.wb-card {{ border: 1px solid {LINE}; border-radius: .4rem; padding: .6rem .85rem; }}
.wb-card .title {{ font-weight: 600; }}
.wb-card .big {{ font-size: 1.45rem; font-weight: 650; font-variant-numeric: tabular-nums; }}
.wb-lists {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr));
  gap: .6rem 1.8rem; }}
.wb-lists h4 {{ font-size: .92rem; margin: 0 0 .25rem 0; padding: 0; color: {INK}; }}
.wb-lists table {{ border-collapse: collapse; width: 100%; margin: 0; }}
.wb-lists td {{ padding: .1rem .5rem .1rem 0; vertical-align: top; border: 0;
  font-size: .88rem; line-height: 1.35; }}
.wb-lists td.code {{ color: {MUTED}; white-space: nowrap; width: 1%;
  font-variant-numeric: tabular-nums; }}
.wb-prompt {{ background: {SURFACE}; border: 1px solid {LINE}; border-radius: .4rem;
  padding: .8rem 1.1rem; line-height: 1.55; overflow-wrap: anywhere; }}
.wb-prompt p {{ margin: 0 0 .55rem 0; }}
.wb-prompt .lead {{ font-weight: 650; color: {PRIMARY}; }}
.wb-skeleton .line {{ height: .8rem; margin-top: .75rem; border-radius: .3rem; width: 92%;
  background: {SURFACE}; animation: wb-breathe 1.6s ease-in-out infinite; }}
.wb-skeleton .line:nth-child(3n) {{ width: 78%; }}
.wb-skeleton .line:nth-child(4n) {{ width: 64%; }}
@keyframes wb-breathe {{ 50% {{ background: {LINE}; }} }}
@media (prefers-reduced-motion: reduce) {{ .wb-skeleton .line {{ animation: none; }} }}
.wb-key {{ display: inline-block; width: .8rem; height: .8rem; border-radius: .15rem;
  vertical-align: -.08rem; margin-right: .35rem; }}
.wb-legend {{ display: flex; flex-wrap: wrap; gap: .25rem 1.2rem; }}
.wb-hidden {{ position: absolute; width: 1px; height: 1px; overflow: hidden;
  clip-path: inset(50%); }}
.st-key-timeline-place {{ min-height: 150px; }}
.st-key-visit-place {{ min-height: 2.5rem; }} /* the timeline comes after the answer */
.wb-scroll {{ overflow-x: auto; }}
.wb-stages {{ display: flex; list-style: none; margin: .4rem 0 .2rem 0; padding: 0; }}
.wb-stages li {{ flex: 1 1 0; min-width: 4.6rem; display: flex; flex-direction: column;
  align-items: center; position: relative; margin: 0; padding: 0; text-align: center; }}
.wb-stages li + li::before {{ content: ""; position: absolute; top: .78rem; right: 50%; width: 100%;
  height: 2px; background: {LINE}; }}
.wb-stages li.done + li::before {{ background: {PRIMARY}; }}
.wb-stages .dot {{ position: relative; z-index: 1; width: 1.6rem; height: 1.6rem;
  border-radius: 50%; line-height: 1.4rem; font-weight: 700; font-size: .9rem;
  border: 2px solid {LINE}; background: {GROUND}; color: {GROUND}; }}
.wb-stages .done .dot {{ background: {PRIMARY}; border-color: {PRIMARY}; }}
.wb-stages .running .dot {{ border-color: {PRIMARY}; background: {PRIMARY_TINT};
  animation: wb-pulse 1.6s ease-in-out infinite; }}
.wb-stages .stopped .dot {{ background: {CARE}; border-color: {CARE}; }}
.wb-stages .name {{ font-weight: 600; font-size: .92rem; margin-top: .2rem; }}
.wb-stages .waiting .name {{ color: {MUTED}; font-weight: 400; }}
.wb-stages .beneath {{ color: {MUTED}; font-size: .82rem; }}
@keyframes wb-pulse {{ 50% {{ box-shadow: 0 0 0 .35rem {PRIMARY_EDGE}; }} }}
@media (prefers-reduced-motion: reduce) {{ .wb-stages .running .dot {{ animation: none; }} }}
.wb-guarded {{ border-collapse: separate; border-spacing: 4px; width: 100%; min-width: 620px; }}
.wb-guarded th {{ text-align: left; font-weight: 600; padding: .2rem .6rem; border: 0;
  font-size: .92rem; }}
.wb-guarded thead span {{ font-weight: 400; font-size: .85rem; }}
.wb-guarded thead th:first-child {{ font-weight: 400; color: {MUTED}; }}
.wb-guarded td {{ padding: .3rem .7rem; border: 0; border-radius: .3rem; background: {SURFACE};
  font-variant-numeric: tabular-nums; }}
.wb-guarded td.better {{ background: {PRIMARY_TINT}; color: {PRIMARY}; }}
.wb-guarded td.worse {{ background: {CARE_TINT}; color: {CARE}; }}
.wb-guarded td.unclear {{ color: {MUTED}; }}
.wb-alert {{ border: 1px solid {LINE}; border-left: 4px solid {LINE}; border-radius: .4rem;
  padding: .45rem .8rem; margin-bottom: .45rem; font-size: .9rem; line-height: 1.45; }}
.wb-alert .title {{ font-weight: 650; font-size: .97rem; }}
.wb-alert.warn {{ background: {CARE_TINT}; border-color: {CARE_LINE};
  border-left-color: {CARE_EDGE}; }}
.wb-alert.warn .title {{ color: {CARE}; }}
.wb-alert.stop {{ background: {STOP_TINT}; border-color: {STOP_LINE};
  border-left-color: {STOP_EDGE}; }}
.wb-alert.stop .title {{ color: {STOP}; }}
.wb-bars .row {{ display: grid; grid-template-columns: 3.2rem 6rem 1fr; gap: .7rem;
  align-items: center; padding: .16rem 0; font-size: .92rem; }}
.wb-bars .number {{ font-variant-numeric: tabular-nums; font-weight: 650; text-align: right; }}
.wb-bars .track {{ height: .6rem; background: {SURFACE}; border-radius: .2rem; overflow: hidden; }}
.wb-bars .track span {{ display: block; height: 100%; background: {PRIMARY}; }}
.wb-bars .against .track span {{ background: {ORANGE}; }}
.wb-bars .against .number {{ color: {CARE}; }}
"""


def apply() -> None:
    """Add the style sheet of the app's own HTML pieces and of its charts to the page."""
    st.html(_sheet())


@cache
def _sheet() -> str:
    """Return the sheet; Streamlit tells the page's `color-scheme`, which `light-dark()` follows.

    Charts are drawn in the colours of the light page and re-coloured here, so that they follow
    a change at once: Plotly writes each colour into the style of what it draws.
    """
    charts = (
        f'.js-plotly-plot :is([style*="{part}: {_rgb(light)}"], [style*="{part}:{light}"]) '
        f"{{ {part}: light-dark({light},{dark}) !important; }}"
        for light, dark in DARK.items()
        for part in ("fill", "stroke")
    )
    return f"<style>{for_both(_CSS)}{''.join(charts)}</style>"


def _rgb(colour: str) -> str:
    return f"rgb({', '.join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5))})"


def of_page(colour: str) -> str:
    """Return a palette colour as it is on the page now, for what no style sheet reaches: tables."""
    return DARK[colour] if st.context.theme.type == "dark" else colour


def text(value: object) -> str:
    """Return untrusted text as HTML text; nothing from a record is ever markup."""
    return escape(str(value))


def literal(value: object) -> str:
    """Return untrusted text as Markdown that shows it letter by letter: no links, no images."""
    marks = "\\`*_{}[]<>()#+-!|$~:"
    return "".join("\\" + char if char in marks else char for char in str(value))


def badge(label: str, kind: str = "") -> str:
    """Return a small rounded label; `kind` is "", "strong" or "warn"."""
    return f'<span class="wb-badge {kind}">{text(label)}</span>'


def empty_figure(height: int) -> go.Figure:
    """Return a figure with the app's fonts, colours and margins, `height` in pixels."""
    figure = go.Figure()
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        font={"family": FONT, "size": 13, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hoverlabel={
            "bgcolor": GROUND,
            "bordercolor": LINE,
            "font": {"color": INK, "size": 13, "family": FONT},
            "align": "left",
        },
        showlegend=False,
        dragmode=False,
    )
    return figure


CHART_CONFIG = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False}
