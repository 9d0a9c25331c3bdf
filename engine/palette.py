"""The colours and the type of everything that is drawn: pages, charts and reports.

The names are the colours of the light page, which reports and printed pages always are; `DARK`
says which colour stands for each on the dark page.
"""

import re

GROUND = "#ffffff"
INK = "#1b2733"
MUTED = "#5b6b7a"
LINE = "#d5dee3"
SURFACE = "#f3f7f8"
PRIMARY = "#0b6e75"
PRIMARY_LIGHT = "#7cc0bd"
PRIMARY_TINT = "#e2f1f0"
PRIMARY_EDGE = "#b7dbd8"
VIOLET = "#6b4fa0"
VIOLET_LIGHT = "#c6b9e3"
BLUE = "#2f6f9f"
ORANGE = "#c8701b"  # asks for a look; as a surface or a mark, its words are CARE
ORANGE_LIGHT = "#f0bd86"
GREY = "#c2ccd3"  # set aside, or no part of the matter
GREY_STRONG = "#75838f"
PAST = "#9fb6c1"
LATER = "#d3dde3"
CARE = "#8a4b0c"
CARE_TINT = "#fdf3e4"
CARE_LINE = "#f1d6b3"
CARE_EDGE = "#d99a2b"
STOP = "#8c2a20"
STOP_TINT = "#fdf0ef"
STOP_LINE = "#efc9c5"
STOP_EDGE = "#b3382c"
FONT = "'Source Sans', 'Source Sans Pro', 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

DARK = {
    GROUND: "#11181e",
    INK: "#e3eaef",
    MUTED: "#9fb0bc",
    LINE: "#33424d",
    SURFACE: "#1b262e",
    PRIMARY: "#58bdb8",
    PRIMARY_LIGHT: "#2b7678",
    PRIMARY_TINT: "#173335",
    PRIMARY_EDGE: "#2c5a5c",
    VIOLET: "#b5a1e0",
    VIOLET_LIGHT: "#67559a",
    BLUE: "#74b1dd",
    ORANGE: "#e39549",
    ORANGE_LIGHT: "#8c5826",
    GREY: "#4d5d69",
    GREY_STRONG: "#94a4b0",
    PAST: "#5d7683",
    LATER: "#364651",
    CARE: "#f0bb80",
    CARE_TINT: "#30271a",
    CARE_LINE: "#5a4828",
    CARE_EDGE: "#d08f2a",
    STOP: "#f4a9a1",
    STOP_TINT: "#361e1d",
    STOP_LINE: "#663632",
    STOP_EDGE: "#d9604f",
}


def for_both(css: str) -> str:
    """Return CSS or HTML whose palette colours follow the page, light or dark, by themselves."""
    return re.sub("|".join(DARK), lambda found: f"light-dark({found[0]},{DARK[found[0]]})", css)
