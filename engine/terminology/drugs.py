"""Drug names as hospitals write them → ATC third-level groups.

    >>> match("Oxycodone-Acetaminophen (5mg-325mg)", "PO", "MAIN").groups
    ('N02A',)

In order: is it no drug at all (`data/non_drug.yaml`), a fluid or another name that is read by
pattern (`data/patterns.yaml`), a name we know as written (`data/ingredients.csv`,
`data/brands.csv`), or a combination of names we know?
Of an ingredient's codes those that fit the route are kept. No spelling is guessed: names one
letter apart are different drugs, so an unknown name stays unmapped.
ATC codes that a row already brings (by its NDC, or from its source) win over the name.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import yaml

from engine.terminology import atc, names, routes

_DATA = Path(__file__).parent / "data"
# Below this length the start of a cut-off name ("Propra") fits too many drugs.
_SHORTEST_CUT_NAME = 5
# No drug's name is longer; the rest of a longer text is not read.
_LONGEST_TEXT = 300
# In "Cefazolin-Dextrose" these only carry the drug (hyaluronidase under the skin); alone they
# are treatment.
_CARRIERS = frozenset({"dextrose", "dextrose solution", "sodium chloride", "hyaluronidase"})


@dataclass(frozen=True, slots=True)
class DrugMatch:
    """What a written drug name stands for, and by which rule."""

    groups: tuple[str, ...]  # ATC third level, sorted; empty unless mapped
    kind: Literal["mapped", "non_drug", "unmapped"]
    rule: str  # for a person: why it was decided so
    # "a/b" is a combination that WHO codes, "a + b" one that it does not.
    ingredient: str | None = None


def match(
    drug: str,
    route: str | None = None,
    drug_type: str | None = None,
    codes: tuple[str, ...] = (),
) -> DrugMatch:
    """Map one written name.

    drug_type is MIMIC's MAIN, BASE or ADDITIVE; without it a row counts as MAIN. A missing
    route means the form in the name, else the only route of a brand in it, else the ingredient's
    systemic code.

    codes are ATC codes of four to seven characters that are known for the row. A name that is
    no drug stays none. Otherwise the groups that codes and name have in common are kept, and if
    there is none, those of the codes that fit the route (all, if none does); where the name says
    otherwise, the rule begins with "code against the name". A code of no group we know is ignored.
    """
    return _match((drug or "")[:_LONGEST_TEXT], route, drug_type, tuple(codes))


@lru_cache(maxsize=200_000)
def _match(
    drug: str, route: str | None, drug_type: str | None, codes: tuple[str, ...]
) -> DrugMatch:
    text = names.plain(drug)
    where = routes.classify(route, text)
    if where == routes.UNKNOWN:
        where = _place_of_brand(text)
    for rule in _non_drug_rules():
        if text and rule.applies(text, where, drug_type):
            return DrugMatch((), "non_drug", f"{rule.kind}: {rule.why}")
    named = _by_name(drug, text, where)
    known = tuple(code for code in codes if code[:4] in _known_groups())
    return _by_codes(known, where, named) if known else named


def _place_of_brand(text: str) -> tuple[str, ...]:
    """The only way a brand in the text is given ("timoptic": into the eye), the longest first."""
    words = text.split()
    places = _places_of_brands()
    for length in range(min(len(words), _longest_name()), 0, -1):
        for start in range(len(words) - length + 1):
            if place := places.get(" ".join(words[start : start + length])):
                return routes.widening(place)
    return routes.UNKNOWN


def _by_codes(codes: tuple[str, ...], where: tuple[str, ...], named: DrugMatch) -> DrugMatch:
    if agreed := {code[:4] for code in codes}.intersection(named.groups):
        rule = f"code and name; route {where[0]}"
        return DrugMatch(tuple(sorted(agreed)), "mapped", rule, named.ingredient)
    fitting = _fitting(tuple(Code(code, _routes_of(code)) for code in codes), where) or codes
    groups = tuple(sorted({code[:4] for code in fitting}))
    source = "code against the name" if named.groups else "code"
    return DrugMatch(groups, "mapped", f"{source}; route {where[0]}")


def _by_name(drug: str, text: str, where: tuple[str, ...]) -> DrugMatch:
    if not text:
        return DrugMatch((), "unmapped", "empty name")
    ingredients, how = _ingredients(drug, text)
    if not ingredients:
        return DrugMatch((), "unmapped", "no known ingredient in the name")
    products = _products(ingredients)
    codes = [code for name in products for code in codes_on_route(name, where)]
    groups = tuple(sorted({code[:4] for code in codes}))
    return DrugMatch(groups, "mapped", f"{how}; route {where[0]}", " + ".join(products))


def _ingredients(drug: str, text: str) -> tuple[tuple[str, ...], str]:
    """The known ingredients in a written name, and how they were found."""
    for pattern, ingredient in _patterns():
        if pattern.search(text):
            return (ingredient,), "pattern"
    written = _written()
    unmarked = names.without_markers(drug)
    outside, inside = names.brackets(unmarked)
    for candidate in (unmarked, names.without_strengths(unmarked), outside):
        if (known := written.get(names.plain(candidate))) in _table():
            return (known,), "name"
    if found := _components(outside):
        return found, "combination" if len(found) > 1 else "name"
    for part in inside:
        if found := _components(part):
            return found, "name in brackets"
    if found := _anywhere(outside):
        return found, "name within the text"
    if found := _cut_off(outside):
        return found, "start of a name"
    return (), ""


def _components(text: str) -> tuple[str, ...]:
    """Ingredients of a single product or combination; unknown parts (a biosimilar's suffix,
    an order-set's title) are passed over."""
    parts = names.components(text)
    found: list[str] = []
    while parts:
        name, length = _longest_start([word for part in parts for word in part])
        if name is not None:
            found.append(name)
        while parts and (length := length - len(parts.pop(0))) > 0:
            pass
    if len(found) > 1:
        found = [part for name in found for part in name.split("/")]
        found = [name for name in found if name not in _CARRIERS] or found
    distinct = tuple(dict.fromkeys(found))
    return distinct if _products(distinct) else ()


def _longest_start(words: Sequence[str]) -> tuple[str | None, int]:
    """The known name that takes most words from the start, and how many it takes."""
    written = _written()
    for length in range(min(len(words), _longest_name()), 0, -1):
        if (known := written.get(" ".join(words[:length]))) is not None:
            return known, length
    return None, 0


def _anywhere(text: str) -> tuple[str, ...]:
    """A known name after words that are none ("Conjugated …", "Sugar-Free …")."""
    words = names.plain(names.without_strengths(text)).split()
    for start in range(1, len(words)):
        found, _ = _longest_start(words[start:])
        if found in _table() and len(words[start]) >= _SHORTEST_CUT_NAME:
            return (found,)
    return ()


def _cut_off(text: str) -> tuple[str, ...]:
    """A name that a field's width cut ("sodium bicar"), when every known continuation goes
    through one and the same name."""
    start = names.plain(text)
    if len(start) < _SHORTEST_CUT_NAME or not start.replace(" ", "").isalpha():
        return ()
    continuations = sorted((name for name in _written() if name.startswith(start)), key=len)
    if not continuations or not all(name.startswith(continuations[0]) for name in continuations):
        return ()
    found = _written()[continuations[0]]
    return (found,) if found in _table() else ()


def _products(ingredients: tuple[str, ...]) -> list[str]:
    """What to look codes up for: the widest combinations that WHO codes among the ingredients,
    then each ingredient left over that has a code of its own."""
    left = frozenset(ingredients)
    products: list[str] = []
    for parts, name in _combinations():
        if len(left) > 1 and parts <= left:
            products.append(name)
            left -= parts
    return products + [name for name in ingredients if name in left and name in _table()]


def codes_on_route(ingredient: str, where: tuple[str, ...]) -> list[str]:
    """The ATC codes of an ingredient of the table on a route as `routes.classify` reads it; its
    first code where none fits."""
    codes = _table()[ingredient]
    return _fitting(codes, where) or [codes[0].atc]


def _fitting(codes: tuple["Code", ...], where: tuple[str, ...]) -> list[str]:
    """The codes of the narrowest class that has some, else the general ones."""
    for place in where:
        if fitting := [code.atc for code in codes if place in code.routes]:
            return fitting
    return [code.atc for code in codes if not code.routes]


@cache
def _routes_of(code: str) -> frozenset[str]:
    """The routes of a code from elsewhere: those our table has for it, else its group's own."""
    held = [known.routes for codes in _table().values() for known in codes if known.atc == code]
    return frozenset().union(*held) if held and all(held) else routes.of_atc(code)


@dataclass(frozen=True, slots=True)
class Code:
    """One ATC code of an ingredient; without routes it is the general one."""

    atc: str
    routes: frozenset[str]


@dataclass(frozen=True, slots=True)
class NonDrugRule:
    """A pattern of names that are no drug, perhaps only on some routes or row types."""

    kind: str  # vehicle, flush, device or supply
    why: str
    pattern: re.Pattern[str]
    routes: frozenset[str]
    drug_types: frozenset[str]

    def applies(self, text: str, where: tuple[str, ...], drug_type: str | None) -> bool:
        if self.drug_types and (drug_type or "MAIN").strip().upper() not in self.drug_types:
            return False
        if self.routes and not self.routes.intersection(where):
            return False
        return self.pattern.search(text) is not None


def ingredients() -> MappingProxyType[str, tuple[Code, ...]]:
    """Every ingredient of the table with its codes."""
    return MappingProxyType(_table())


def written_names() -> MappingProxyType[str, str]:
    """Every name we know, in plain form, with its ingredient."""
    return MappingProxyType(_written())


def _rows(name: str) -> list[dict[str, str]]:
    with (_DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


@cache
def _table() -> dict[str, tuple[Code, ...]]:
    """Ingredient → its codes; "A+B@x+y" reads: A and B, each on the routes x and y."""
    table = {}
    for row in _rows("ingredients.csv"):
        codes = []
        for entry in row["atc"].split():
            atcs, _, places = entry.partition("@")
            held = frozenset(places.split("+")) if places else frozenset()
            codes += [Code(atc, held) for atc in atcs.split("+")]
        table[row["ingredient"]] = tuple(codes)
    return table


@cache
def _combinations() -> tuple[tuple[frozenset[str], str], ...]:
    """The components of every combination and its name, the widest first."""
    parts = ((frozenset(name.split("/")), name) for name in _table() if "/" in name)
    return tuple(sorted(parts, key=lambda pair: -len(pair[0])))


@cache
def _written() -> dict[str, str]:
    """Every name we know as it is written, in plain form → ingredient. A component that WHO
    codes only within combinations (tazobactam) is known, though it has no code of its own."""
    components = (part for parts, _ in _combinations() for part in parts)
    known = {names.plain(part): part for part in components}
    known |= {names.plain(name): name for name in _table()}
    known |= {names.plain(row["written"]): row["ingredient"] for row in _rows("brands.csv")}
    return known


@cache
def _places_of_brands() -> dict[str, str]:
    """The brands that are given in one way only, in plain form → class of route."""
    return {
        names.plain(row["written"]): row["route"] for row in _rows("brands.csv") if row["route"]
    }


@cache
def _known_groups() -> frozenset[str]:
    return frozenset(atc.groups())


@cache
def _longest_name() -> int:
    return max(name.count(" ") + 1 for name in _written())


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    content = yaml.safe_load((_DATA / "patterns.yaml").read_text(encoding="utf-8"))
    return tuple((re.compile(item["pattern"]), item["ingredient"]) for item in content)


@cache
def _non_drug_rules() -> tuple[NonDrugRule, ...]:
    content = yaml.safe_load((_DATA / "non_drug.yaml").read_text(encoding="utf-8"))
    return tuple(
        NonDrugRule(
            kind=item["kind"],
            why=item["why"],
            pattern=re.compile(item["pattern"]),
            routes=frozenset(item.get("routes", ())),
            drug_types=frozenset(item.get("drug_types", ())),
        )
        for item in content
    )
