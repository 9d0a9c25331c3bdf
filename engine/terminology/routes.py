"""Routes of administration as hospitals abbreviate them, and dosage forms within drug names."""

import re
from functools import cache
from pathlib import Path

import yaml

_FILE = Path(__file__).parent / "data" / "routes.yaml"
UNKNOWN = ("unknown",)


def classify(route: str | None, name: str) -> tuple[str, ...]:
    """Classes to try in turn, the narrowest first, e.g. ("iv", "parenteral").

    `name` is the plain written drug name: its dosage form stands in for a missing or unknown
    route, and outranks a loosely used one (ear drops "TP"). ("unknown",) when neither tells.
    """
    written = _routes().get(" ".join((route or "").upper().split()))
    form = _form(name)
    place = form if written is None or written in _outranked_by(form) else written
    return UNKNOWN if place is None else widening(place)


def widening(place: str) -> tuple[str, ...]:
    """A class and the wider ones to try after it."""
    return (place, *_content()["wider"].get(place, ()))


def known(route: str) -> bool:
    """Whether the route string itself is in the table."""
    return " ".join(route.upper().split()) in _routes()


def of_atc(code: str) -> frozenset[str]:
    """The classes that an ATC code's group is meant for; empty for a systemic one."""
    groups = _content()["groups"]
    return frozenset(
        place for group, places in groups.items() if code.startswith(group) for place in places
    )


@cache
def _content() -> dict:
    return yaml.safe_load(_FILE.read_text(encoding="utf-8"))


@cache
def _routes() -> dict[str, str]:
    return {text: place for place, texts in _content()["routes"].items() for text in texts}


@cache
def _forms() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((place, re.compile(pattern)) for place, pattern in _content()["forms"])


def _form(name: str) -> str | None:
    return next((place for place, pattern in _forms() if pattern.search(name)), None)


def _outranked_by(form: str | None) -> list[str]:
    return _content()["outranks"].get(form, [])
