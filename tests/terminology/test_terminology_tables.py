"""The hand-written tables agree with each other."""

import csv
import re
from pathlib import Path

import pytest
import yaml

from engine.terminology import atc, drugs, names

DATA = Path(drugs.__file__).parent / "data"
ATC = re.compile(r"[A-Z]\d\d[A-Z]([A-Z](\d\d)?)?")


def rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


INGREDIENTS = rows("ingredients.csv")
KNOWN = {row["ingredient"] for row in INGREDIENTS}
COMPONENTS = {part for name in KNOWN for part in name.split("/")}
ROUTES = yaml.safe_load((DATA / "routes.yaml").read_text(encoding="utf-8"))
CLASSES = set(ROUTES["routes"]) | set(ROUTES["wider"])
CLASSES |= {wider for places in ROUTES["wider"].values() for wider in places}


def codes(row: dict[str, str]) -> list[tuple[str, list[str]]]:
    entries = (entry.partition("@") for entry in row["atc"].split())
    return [(code, where.split("+")) for part, _, where in entries for code in part.split("+")]


def test_the_inpatient_formulary_is_covered():
    single = [name for name in KNOWN if "/" not in name]
    assert len(single) >= 900


def test_every_code_is_well_formed_and_its_group_has_a_name():
    wrong = [
        (row["ingredient"], code)
        for row in INGREDIENTS
        for code, _ in codes(row)
        if not ATC.fullmatch(code) or code[:4] not in atc.groups()
    ]
    assert INGREDIENTS
    assert not wrong


def test_every_route_of_a_code_is_a_class_that_routes_are_read_as():
    used = {place for row in INGREDIENTS for _, places in codes(row) for place in places}
    assert used - {""} <= CLASSES


def test_no_ingredient_stands_twice():
    plain = [names.plain(row["ingredient"]) for row in INGREDIENTS]
    assert len(plain) == len(set(plain))
    combinations = [frozenset(name.split("/")) for name in KNOWN if "/" in name]
    assert len(combinations) == len(set(combinations))


def test_no_written_name_stands_twice():
    written = [names.plain(row["written"]) for row in rows("brands.csv")]
    assert len(written) == len(set(written))


def test_every_brand_leads_to_an_ingredient():
    assert {row["ingredient"] for row in rows("brands.csv")} <= KNOWN | COMPONENTS


def test_the_route_of_a_brand_is_a_class_that_routes_are_read_as():
    assert {row["route"] for row in rows("brands.csv")} - {"", None} <= CLASSES
    assert sum(bool(row["route"]) for row in rows("brands.csv")) > 150


def test_every_pattern_leads_to_an_ingredient():
    items = yaml.safe_load((DATA / "patterns.yaml").read_text(encoding="utf-8"))
    assert {item["ingredient"] for item in items} <= KNOWN


def test_non_drug_rules_are_complete():
    items = yaml.safe_load((DATA / "non_drug.yaml").read_text(encoding="utf-8"))
    assert {item["kind"] for item in items} == {"vehicle", "flush", "device", "supply"}
    assert all(item["why"] and re.compile(item["pattern"]) for item in items)
    assert {place for item in items for place in item.get("routes", ())} <= CLASSES


def test_no_route_is_read_two_ways():
    texts = [text for texts in ROUTES["routes"].values() for text in texts]
    assert len(texts) == len(set(texts))
    assert all(text == text.upper() for text in texts)


@pytest.mark.parametrize("row", rows("icd_retired.csv"), ids=lambda row: row["code"])
def test_retired_codes_are_written_like_all_others(row):
    assert row["kind"] in {"diagnosis", "procedure"}
    assert re.fullmatch(r"(9|10):[A-Z0-9]{3,7}", row["code"])
    assert row["title"]
