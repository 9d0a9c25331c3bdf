"""Terms: what a question mark says, and that each term is asked for somewhere."""

from pathlib import Path

import pytest

from app.terms import TERMS, explain

APP = Path(__file__).resolve().parents[2] / "app"


def test_an_explanation_names_each_term_in_the_order_asked():
    said = explain("Student", "Threshold")
    assert said.startswith("**Student**: ")
    assert said.index("**Student**") < said.index("**Threshold**")
    assert TERMS["Threshold"] in said


@pytest.mark.parametrize("term", TERMS)
def test_every_term_is_explained_on_some_page(term):
    sources = [path.read_text() for path in APP.rglob("*.py") if path.name != "terms.py"]
    named = (f'"{term}"', f'"{term.lower()}": "{term}"')
    assert any(name in source for source in sources for name in named), f"nobody asks for {term}"
