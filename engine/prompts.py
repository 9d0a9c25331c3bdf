"""A visit and its history as text, within a token budget.

    prompt = render(visit, cohort.title, count_tokens, recipe.prompt)

The text runs from the profile over the earlier visits, oldest first, to the visit at hand and the
question; a causal model has read everything when it reaches the last token. Over budget, the
oldest earlier visit goes first, then the tails of the latest earlier visit's lists, then that
visit itself, and only then the tails of the present visit's lists. `omitted` says what went.

With `order: medications_first` what was given before stands on lines of its own, ahead of the
earlier visits, and stays when they go: a patient's last medications say more about the next ones
than anything else. They lose their tail only when the present visit is down to its main codes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from engine.config import PromptRecipe
from engine.records.schema import Visit, profile_value
from engine.terminology import atc, icd, titles

QUESTION = "Which medication groups does the patient need during this visit?"
KEPT_ENTRIES = 4  # a trimmed list keeps at least this many, or the visit is dropped instead
MAIN_ENTRIES = 8  # of the present visit: these stay longer than the medications given before

SEXES = {"F": "woman", "M": "man"}
FIELD_NAMES = {
    "marital_status": "Marital status",
    "race": "Race",
    "religion": "Religion",
    "language": "Language",
    "insurance": "Insurance",
    "admission_type": "Admission",
}
ADMISSION_TYPES = {
    "EW EMER.": "emergency",
    "DIRECT EMER.": "direct emergency",
    "EU OBSERVATION": "observation in the emergency unit",
    "DIRECT OBSERVATION": "direct observation",
    "AMBULATORY OBSERVATION": "ambulatory observation",
    "OBSERVATION ADMIT": "observation, then admitted",
    "SURGICAL SAME DAY ADMISSION": "surgery on the day of admission",
}

Title = Callable[[str, str], str]
Lists = TypeVar("Lists", "_Part", "_Content")


@dataclass(frozen=True)
class Prompt:
    """What the teacher reads, how long it is, and what the budget left out."""

    text: str
    tokens: int
    omitted: tuple[str, ...]


@dataclass(frozen=True)
class _Part:
    """One visit as lists of names; the lists shrink from their tails."""

    diagnoses: tuple[str, ...]
    procedures: tuple[str, ...]
    medications: tuple[str, ...]
    months_before: int = 0


@dataclass(frozen=True)
class _Content:
    """All that may go over budget."""

    earlier: tuple[_Part, ...]  # oldest first
    current: _Part
    given: tuple[str, ...] = ()  # medication groups of the latest earlier visit that has some
    before: tuple[str, ...] = ()  # those of older visits only


def render(
    visit: Visit, title: Title, count_tokens: Callable[[str], int], options: PromptRecipe
) -> Prompt:
    """Return the prompt of a visit.

    Args:
        title: maps ("diagnosis" | "procedure", code) to a name.
        count_tokens: the teacher's own tokenizer, special tokens included.
        options: profile fields shown, whether history is shown, `max_tokens`.
    """
    content = _content(visit, title, options)
    profile = _profile(visit, options)

    def compose(content: _Content) -> Prompt:
        text = _text(profile, visit, content, options)
        return Prompt(text, count_tokens(text), ())

    full = content
    prompt = compose(content)
    while prompt.tokens > options.max_tokens:
        excess = prompt.tokens - options.max_tokens
        shorter = _shorten(content, excess, count_tokens)
        if shorter is None:
            break
        content = shorter
        prompt = compose(content)
    omitted = _omissions(len(visit.history), full, content)
    if prompt.tokens > options.max_tokens:
        omitted += (f"nothing more, though {options.max_tokens} tokens are exceeded",)
    return replace(prompt, omitted=omitted)


def _content(visit: Visit, title: Title, options: PromptRecipe) -> _Content:
    history = visit.history[-(options.max_earlier_visits or 0) :] if options.history else ()
    current = _part(visit, title, options)
    earlier = tuple(_part(past, title, options, visit) for past in history)
    if options.order == "recent":
        return _Content(earlier, current)
    with_medications = [part.medications for part in reversed(earlier) if part.medications]
    given = with_medications[0] if with_medications else ()
    older = dict.fromkeys(name for names in with_medications[1:] for name in names)
    return _Content(
        tuple(replace(part, medications=()) for part in earlier),
        current,
        given,
        tuple(name for name in older if name not in given),
    )


def _part(visit: Visit, title: Title, options: PromptRecipe, present: Visit | None = None) -> _Part:
    months = 0
    if present is not None:
        months = max(0, round((present.admit_time - visit.admit_time).days / 30.44))
    return _Part(
        code_names("diagnosis", visit.diagnoses, title, options),
        code_names("procedure", visit.procedures, title, options),
        tuple(group_name(group, options) for group in visit.medications),
        months,
    )


def code_names(
    kind: icd.Kind, codes: Sequence[str], title: Title, options: PromptRecipe
) -> tuple[str, ...]:
    """Return what a prompt calls some codes, each once."""
    if options.titles == "code":
        return tuple(f"{icd.dotted(kind, code)} (ICD-{code.partition(':')[0]})" for code in codes)
    long = (title(kind, code) for code in codes)
    if options.titles == "short":  # some codes differ in their long titles only: said once
        return tuple(dict.fromkeys(titles.short(name) for name in long))
    return tuple(long)


def group_name(group: str, options: PromptRecipe) -> str:
    """Return what a prompt calls a medication group."""
    if options.titles == "code":
        return f"{group} (ATC)"
    name = _lower_first(atc.name(group))
    return titles.without_brackets(name) if options.titles == "short" else name


def _shorten(content: _Content, excess: int, count_tokens: Callable[[str], int]) -> _Content | None:
    """Take the next thing out, or return None when nothing more may go."""
    earlier, codes = content.earlier, ("procedures", "diagnoses")
    if len(earlier) > 1:
        saved, dropped = 0, 0
        while saved < excess and dropped < len(earlier) - 1:
            saved += count_tokens("\n".join(_earlier_lines(1, earlier[dropped])))
            dropped += 1
        return replace(content, earlier=earlier[dropped:])
    if earlier:
        trimmed = _trim(earlier[0], codes, KEPT_ENTRIES, excess, count_tokens)
        return replace(content, earlier=(trimmed,) if trimmed else ())
    if shorter := _trim(content, ("before",), 0, excess, count_tokens):
        return shorter
    kept = MAIN_ENTRIES if content.given else 1
    if trimmed := _trim(content.current, codes, kept, excess, count_tokens):
        return replace(content, current=trimmed)
    return _trim(content, ("given",), 0, excess, count_tokens)


def _trim(
    part: Lists, lists: tuple[str, ...], keep: int, excess: int, count_tokens: Callable[[str], int]
) -> Lists | None:
    """Cut tails, the longest list first, until about `excess` tokens are saved."""
    saved, before = 0, part
    while saved < excess:
        longest = max(lists, key=lambda name: len(getattr(part, name)))
        entries = getattr(part, longest)
        if len(entries) <= keep:
            break
        saved += max(1, count_tokens("; " + entries[-1]) - count_tokens(""))
        part = replace(part, **{longest: entries[:-1]})
    return None if part is before else part


def _text(profile: str, visit: Visit, content: _Content, options: PromptRecipe) -> str:
    lines = [profile] if profile else []
    total, shown = len(visit.history), len(content.earlier)
    if options.history:
        lines.append(_history_line(total, shown, bool(content.given)))
    lines += _given_lines(visit, content)
    with_medications = options.order == "recent"
    for number, part in enumerate(content.earlier, start=total - shown + 1):
        lines += _earlier_lines(number, part, with_medications)
    lines.append("This visit.")
    lines.append(_list("Diagnosis", "Diagnoses", content.current.diagnoses))
    lines.append(_list("Procedure", "Procedures", content.current.procedures))
    lines.append(QUESTION)
    return "\n".join(lines)


def _given_lines(visit: Visit, content: _Content) -> list[str]:
    """What was given before, as `medications_first` shows it."""
    lines = []
    if content.given:
        latest = "" if visit.history[-1].medications else " with medications on record"
        lines.append(f"Given at the latest earlier visit{latest}: {'; '.join(content.given)}.")
    if content.before:
        lines.append(f"Ever given before: {'; '.join(content.before)}.")
    return lines


def _earlier_lines(number: int, part: _Part, with_medications: bool = True) -> list[str]:
    lines = [
        f"Earlier visit {number}, {_months(part.months_before)} before this one.",
        _list("Diagnosis", "Diagnoses", part.diagnoses),
    ]
    if part.procedures:
        lines.append(_list("Procedure", "Procedures", part.procedures))
    if with_medications:
        lines.append(_list("Medication group given", "Medication groups given", part.medications))
    return lines


def _profile(visit: Visit, options: PromptRecipe) -> str:
    shown = {field: profile_value(visit, field) for field in options.profile}
    person = SEXES.get(shown.get("sex") or "", "person" if "age_band" in shown else "")
    if shown.get("age_band"):
        person += f" aged {shown['age_band'].replace('90+', '90 or over')}"
    sentences = [f"The patient is a {person}."] if person not in ("", "person") else []
    for field, name in FIELD_NAMES.items():
        if shown.get(field):
            sentences.append(f"{name}: {_readable(field, shown[field])}.")
    return " ".join(sentences)


def _readable(field: str, value: str) -> str:
    if field == "admission_type":
        return ADMISSION_TYPES.get(value.upper(), value.lower().rstrip("."))
    if field in ("insurance", "language"):
        return value.capitalize() if value.isupper() and len(value) > 3 else value
    if field in ("race", "religion"):
        return value.replace("/", " or ").title().replace(" Or ", " or ")
    return value.lower()


def _history_line(total: int, shown: int, medications: bool = False) -> str:
    if total == 0:
        return "This is the first visit on record."
    earlier = "1 earlier visit is" if total == 1 else f"{total} earlier visits are"
    if shown == total:
        return f"{earlier} on record."
    if shown == 0:
        what = "; only medications are shown" if medications else ", not shown"
        return f"{earlier} on record{what}."
    latest = "the latest one is" if shown == 1 else f"the latest {shown} are"
    return f"{earlier} on record; {latest} shown."


def _months(months: int) -> str:
    if months == 0:
        return "less than a month"
    return "1 month" if months == 1 else f"{months} months"


def _list(singular: str, plural: str, entries: tuple[str, ...]) -> str:
    if not entries:
        return f"{plural}: none recorded."
    return f"{singular if len(entries) == 1 else plural}: {'; '.join(entries)}."


def _omissions(visits: int, full: _Content, kept: _Content) -> tuple[str, ...]:
    said = []
    if beyond := visits - len(full.earlier) if full.earlier else 0:
        said.append(f"the oldest {beyond} of {_count(visits, 'earlier visit')}, by the recipe")
    dropped = len(full.earlier) - len(kept.earlier)
    if dropped:
        which = "the oldest " if kept.earlier else ""
        said.append(f"{which}{dropped} of {_count(len(full.earlier), 'earlier visit')}")
    pairs = [("the present visit", full.current, kept.current)]
    if kept.earlier:
        pairs.insert(0, ("the latest earlier visit", full.earlier[-1], kept.earlier[-1]))
    for owner, before, after in pairs:
        for name, singular in (("diagnoses", "diagnosis"), ("procedures", "procedure")):
            said += _tail(
                len(getattr(after, name)), len(getattr(before, name)), singular, name, owner
            )
    for owner, before, after in (
        ("older visits", full.before, kept.before),
        ("the latest earlier visit", full.given, kept.given),
    ):
        said += _tail(len(after), len(before), "medication group", "medication groups", owner)
    return tuple(said)


def _tail(left: int, had: int, singular: str, plural: str, owner: str) -> list[str]:
    if left == had:
        return []
    return [f"the last {had - left} of {had} {singular if had == 1 else plural} of {owner}"]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _lower_first(name: str) -> str:
    """Lower the first letter unless the word is an abbreviation such as "ACE"."""
    return name if name[:2].isupper() else name[:1].lower() + name[1:]
