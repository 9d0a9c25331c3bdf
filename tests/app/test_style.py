"""The style sheet: charts and tables in the colours of the page."""

from types import SimpleNamespace

import streamlit as st

from app import style
from engine.palette import DARK, INK


def test_what_a_chart_draws_follows_the_page(monkeypatch):
    sheets = []
    monkeypatch.setattr(st, "html", sheets.append)
    style.apply()
    rule = f"fill: light-dark({INK},{DARK[INK]}) !important"
    assert f'[style*="fill: rgb(27, 39, 51)"], [style*="fill:{INK}"]) {{ {rule}' in sheets[0]
    assert all(sheets[0].count(f"stroke: light-dark({colour},") == 1 for colour in DARK)


def test_a_table_is_written_in_the_colours_of_the_page(monkeypatch):
    for scheme, colour in (("light", INK), ("dark", DARK[INK]), (None, INK)):
        page = SimpleNamespace(theme=SimpleNamespace(type=scheme))
        monkeypatch.setattr(st, "context", page)
        assert style.of_page(INK) == colour
