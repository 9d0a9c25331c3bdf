"""The colours: readable on both pages, the same in the sheet and in Streamlit's own theme."""

import re
import tomllib
from pathlib import Path

import pytest

from engine import palette
from engine.palette import (
    BLUE,
    CARE,
    CARE_TINT,
    DARK,
    GROUND,
    INK,
    MUTED,
    ORANGE,
    PRIMARY,
    PRIMARY_TINT,
    STOP,
    STOP_TINT,
    SURFACE,
    VIOLET,
)

ROOT = Path(__file__).resolve().parents[1]
READ = 4.5  # least contrast of words, WCAG 2.2 level AA
SEEN = 3.0  # least contrast of bars and lines
WORDS = {  # ground → what is written on it
    GROUND: (INK, MUTED, PRIMARY, VIOLET, CARE, STOP),
    SURFACE: (INK, MUTED, PRIMARY, CARE),
    PRIMARY_TINT: (INK, PRIMARY),
    CARE_TINT: (INK, MUTED, CARE),
    STOP_TINT: (INK, MUTED, STOP),
    PRIMARY: (GROUND,),  # buttons
    CARE: (GROUND,),  # where a run has stopped
}


def contrast(one, other):
    """Return the contrast of two colours as WCAG 2.2 defines it, from 1 to 21."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(part * weight for part, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


@pytest.fixture(params=["light", "dark"])
def scheme(request):
    return request.param


def shown(colour, scheme):
    return DARK[colour] if scheme == "dark" else colour


def test_the_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_words_are_readable_on_what_they_stand_on(scheme):
    pale = [
        (word, ground)
        for ground, words in WORDS.items()
        for word in words
        if contrast(shown(word, scheme), shown(ground, scheme)) < READ
    ]
    assert not pale


def test_bars_and_lines_stand_out_from_the_page(scheme):
    pale = [
        colour
        for colour in (INK, PRIMARY, VIOLET, BLUE, ORANGE)
        if contrast(shown(colour, scheme), shown(GROUND, scheme)) < SEEN
    ]
    assert not pale


def test_every_colour_has_one_that_stands_for_it_in_the_dark():
    colours = {value for value in vars(palette).values() if str(value).startswith("#")}
    assert set(DARK) == colours
    assert len(set(DARK.values())) == len(DARK)


def test_css_follows_the_page_and_keeps_the_colours_that_are_not_ours():
    assert palette.for_both(f"color: {INK}; border-color: #123456") == (
        f"color: light-dark({INK},{DARK[INK]}); border-color: #123456"
    )


def test_streamlit_has_the_same_colours(scheme):
    theme = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["theme"][scheme]
    assert theme["backgroundColor"] == shown(GROUND, scheme)
    assert theme["secondaryBackgroundColor"] == shown(SURFACE, scheme)
    assert theme["textColor"] == shown(INK, scheme)
    assert theme["primaryColor"] == theme["linkColor"] == shown(PRIMARY, scheme)
    for color, tint, name in ((STOP, STOP_TINT, "red"), (CARE, CARE_TINT, "yellow")):
        assert theme[f"{name}TextColor"] == shown(color, scheme)
        assert theme[f"{name}BackgroundColor"] == shown(tint, scheme)
    header = theme["dataframeHeaderTextColor"], theme["dataframeHeaderBackgroundColor"]
    assert contrast(*header) >= READ


def test_the_app_has_no_colour_beside_the_palette():
    own = {
        f"{path.name}: {colour}"
        for path in (ROOT / "app").rglob("*.py")
        for colour in re.findall(r"#[0-9a-fA-F]{6}\b|#[0-9a-fA-F]{3}\b", path.read_text())
    }
    assert not own
