"""Sentences about codes, titles and groups, from which a base model learns its words.

    sentences = terminology_text.sentences(seed)      # endless; take what the training needs
    check = terminology_text.held_out(500, seed)      # never among them

Every sentence is built from the tables of `engine.terminology` and states one fact: what a code
means and which code a title has, where a code stands in its classification, which ICD-10 code an
ICD-9 code became, what a medication group holds. No patient's record is read.
"""

import json
import random
from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import sha256
from itertools import islice

from engine.terminology import atc, crosswalk, drugs, icd

HELD_OUT_SHARE = 50  # one sentence in so many is kept out of the training
DRUGS_A_SENTENCE = 8
# Drawn in turn, so that the small tables are not lost among 170,000 codes; injuries and their
# causes are most of ICD-10-CM and little of a ward's work.
ROTATION = ("diagnoses", "medications", "diagnoses", "procedures") + (
    "diagnoses",
    "medications",
    "equivalents",
    "injuries",
)
_BEGINS_A_PART = frozenset((",", "with", "without"))  # what of a title comes after its category


def sentences(seed: int) -> Iterator[str]:
    """Yield training sentences without end, in an order fixed by `seed`."""
    return _in_turn(_facts(held_out=False), seed)


def held_out(count: int, seed: int) -> list[str]:
    """Return `count` sentences that `sentences` never gives, of all kinds in the same shares.

    Each is kept out as a sentence: what it says may be said the other way round in the training.
    """
    drawn = islice(_in_turn(_facts(held_out=True), seed), 4 * count)  # small tables come again
    return list(dict.fromkeys(drawn))[:count]


def _in_turn(facts: dict[str, tuple[str, ...]], seed: int) -> Iterator[str]:
    order = random.Random(seed)
    kinds = {kind: _endless(facts[kind], random.Random(order.random())) for kind in facts}
    while True:
        for kind in ROTATION:
            yield next(kinds[kind])


def _endless(facts: tuple[str, ...], order: random.Random) -> Iterator[str]:
    while True:
        yield from order.sample(facts, len(facts))


def _facts(held_out: bool) -> dict[str, tuple[str, ...]]:
    return {
        kind: tuple(fact for fact in facts if _is_held_out(fact) == held_out)
        for kind, facts in _every_fact().items()
    }


def _is_held_out(fact: str) -> bool:
    return int.from_bytes(sha256(fact.encode()).digest()[:4]) % HELD_OUT_SHARE == 0


@cache
def _every_fact() -> dict[str, tuple[str, ...]]:
    diagnoses, injuries = [], []
    for code in icd.codes("diagnosis"):
        (injuries if _is_injury(code) else diagnoses).append(code)
    places = _Places()
    return {
        "diagnoses": tuple(fact for code in diagnoses for fact in _of_diagnosis(code, places)),
        "injuries": tuple(fact for code in injuries for fact in _of_diagnosis(code, places)),
        "procedures": tuple(
            fact for code in icd.codes("procedure") for fact in _both_ways("procedure", code)
        ),
        "equivalents": tuple(_equivalents()),
        "medications": tuple(_of_medications()),
    }


def _is_injury(code: str) -> bool:
    """Whether a diagnosis is an injury, a poisoning or the cause of one."""
    version, _, plain = code.partition(":")
    return plain[0] in "STVWXY" if version == "10" else plain[0] in "89E"


def _both_ways(kind: icd.Kind, code: str) -> tuple[str, str]:
    version, title = code.partition(":")[0], icd.title(kind, code)
    written = icd.dotted(kind, code)
    return (
        f"ICD-{version} {kind} code {written} means: {title}.",
        f"{title} has the ICD-{version} {kind} code {written}.",
    )


def _of_diagnosis(code: str, places: "_Places") -> Iterator[str]:
    yield from _both_ways("diagnosis", code)
    version, _, plain = code.partition(":")
    if version != "10":
        return
    title, written = icd.title("diagnosis", code), icd.dotted("diagnosis", code)
    category = places.categories.get(plain[:3])
    if category and category != title:
        yield f"{written}, {title}, is a kind of {plain[:3]}, {category}."
    block, chapter = places.block(plain), places.chapter(plain)
    if block and chapter:
        yield f"{title} belongs to the block {block} in the chapter {chapter}."


def _equivalents() -> Iterator[str]:
    for code in icd.codes("diagnosis"):
        if code.startswith("9:") and (target := crosswalk.to_icd10(code)):
            old, new = icd.title("diagnosis", code), icd.title("diagnosis", target)
            yield (
                f"ICD-9 code {icd.dotted('diagnosis', code)}, {old}, is in ICD-10 "
                f"{icd.dotted('diagnosis', target)}, {new}."
            )


def _of_medications() -> Iterator[str]:
    members: dict[str, list[str]] = {}
    for ingredient, codes in drugs.ingredients().items():
        for group in dict.fromkeys(code.atc[:4] for code in codes):
            members.setdefault(group, []).append(ingredient)
            yield f"{_capital(ingredient)} belongs to the medication group {_named(group)}."
    for group in atc.groups():
        yield f"ATC code {group} is the medication group {atc.name(group)}."
        yield f"{atc.name(group)} has the ATC code {group}."
        yield f"{atc.name(group)} is a part of {_named(group[:3])} and of {_named(group[:1])}."
        held = members.get(group, [])
        for start in range(0, len(held), DRUGS_A_SENTENCE):
            some = ", ".join(held[start : start + DRUGS_A_SENTENCE])
            yield f"The medication group {_named(group)} includes {some}."
    for written, ingredient in drugs.written_names().items():
        if written != ingredient and written not in ingredient:
            yield f"{_capital(written)} is another name of {ingredient}."


def _named(group: str) -> str:
    return f"{group}, {atc.name(group)}"


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]


class _Places:
    """Where an ICD-10-CM code stands: chapter, block, three-character category."""

    def __init__(self) -> None:
        self._blocks = _ranges("icd10cmblocks.json")
        self._chapters = _ranges("icd10cmchapters.json")
        self.categories = _category_names()

    def block(self, code: str) -> str | None:
        return _range_of(code, self._blocks)

    def chapter(self, code: str) -> str | None:
        return _range_of(code, self._chapters)


def _ranges(file: str) -> list[tuple[str, str, str]]:
    named = json.loads((icd.package_files() / file).read_text(encoding="utf-8"))
    return [(*span.partition("-")[::2], name) for span, name in named.items()]


def _range_of(code: str, ranges: Iterable[tuple[str, str, str]]) -> str | None:
    for first, last, name in ranges:
        if first <= code[:3] <= (last or first):
            return f"{first}-{last}, {name}" if last else f"{first}, {name}"
    return None


def _category_names() -> dict[str, str]:
    """Category → its name, where its codes' titles begin alike: the tables hold no headings."""
    titles: dict[str, list[list[str]]] = {}
    for code in icd.codes("diagnosis"):
        if code.startswith("10:"):
            words = icd.title("diagnosis", code).replace(",", " ,").split()
            titles.setdefault(code[3:6], []).append(words)
    names = {}
    for category, written in titles.items():
        shared = []
        for words in zip(*written, strict=False):
            if len(set(words)) > 1:
                break
            shared.append(words[0])
        while shared and shared[-1] in _BEGINS_A_PART:
            shared.pop()
        parts = {words[len(shared)] for words in written if len(words) > len(shared)}
        if shared and len(written) > 1 and parts <= _BEGINS_A_PART:
            names[category] = " ".join(shared).replace(" ,", ",")
    return names
