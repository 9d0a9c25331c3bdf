"""A visit and its history as text, within a token budget.

    prompt = render(visit, cohort.title, count_tokens, recipe.prompt)

The text runs from the profile over the earlier visits, oldest first, to the visit at hand and the
question; a causal model has read everything when it reaches the last token. Over budget, the
oldest earlier visit goes first, then the tails of the latest earlier visit's lists, then that
visit itself, and only then the tails of the present visit's lists. `omitted` says what went.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from engine.config import PromptRecipe
from engine.records.schema import Visit, profile_value
from engine.terminology import atc

QUESTION = "Which medication groups does the patient need during this visit?"
KEPT_ENTRIES = 4  # a trimmed list keeps at least this many, or the visit is dropped instead

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


def render(
    visit: Visit, title: Title, count_tokens: Callable[[str], int], options: PromptRecipe
) -> Prompt:
    """Return the prompt of a visit.

    Args:
        title: maps ("diagnosis" | "procedure", code) to a name.
        count_tokens: the teacher's own tokenizer, special tokens included.
        options: profile fields shown, whether history is shown, `max_tokens`.
    """
    current = _part(visit, title)
    earlier = [_part(past, title, visit) for past in visit.history] if options.history else []
    profile = _profile(visit, options)
    total = len(earlier)

    def compose(parts: list[_Part], now: _Part) -> Prompt:
        text = _text(profile, visit, parts, now, total if options.history else None)
        return Prompt(text, count_tokens(text), ())

    full_now, full_earlier = current, earlier
    prompt = compose(earlier, current)
    while prompt.tokens > options.max_tokens:
        excess = prompt.tokens - options.max_tokens
        shorter = _shorten(earlier, current, excess, count_tokens)
        if shorter is None:
            break
        earlier, current = shorter
        prompt = compose(earlier, current)
    omitted = _omissions(full_earlier, earlier, full_now, current)
    if prompt.tokens > options.max_tokens:
        omitted += (f"nothing more, though {options.max_tokens} tokens are exceeded",)
    return replace(prompt, omitted=omitted)


def _part(visit: Visit, title: Title, present: Visit | None = None) -> _Part:
    months = 0
    if present is not None:
        months = max(0, round((present.admit_time - visit.admit_time).days / 30.44))
    return _Part(
        tuple(title("diagnosis", code) for code in visit.diagnoses),
        tuple(title("procedure", code) for code in visit.procedures),
        tuple(_lower_first(atc.name(group)) for group in visit.medications),
        months,
    )


def _shorten(
    earlier: list[_Part], current: _Part, excess: int, count_tokens: Callable[[str], int]
) -> tuple[list[_Part], _Part] | None:
    """Take the next thing out, or return None when nothing more may go."""
    if len(earlier) > 1:
        saved, dropped = 0, 0
        while saved < excess and dropped < len(earlier) - 1:
            saved += count_tokens("\n".join(_earlier_lines(1, earlier[dropped])))
            dropped += 1
        return earlier[dropped:], current
    if earlier:
        trimmed = _trim(earlier[0], ("procedures", "diagnoses"), KEPT_ENTRIES, excess, count_tokens)
        return ([trimmed] if trimmed else []), current
    trimmed = _trim(current, ("procedures", "diagnoses"), 1, excess, count_tokens)
    return ([], trimmed) if trimmed else None


def _trim(
    part: _Part, lists: tuple[str, ...], keep: int, excess: int, count_tokens: Callable[[str], int]
) -> _Part | None:
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


def _text(
    profile: str, visit: Visit, earlier: list[_Part], current: _Part, total: int | None
) -> str:
    lines = [profile] if profile else []
    if total is not None:
        lines.append(_history_line(total, len(earlier)))
    for number, part in enumerate(earlier, start=total - len(earlier) + 1 if total else 1):
        lines += _earlier_lines(number, part)
    lines.append("This visit.")
    lines.append(_list("Diagnosis", "Diagnoses", current.diagnoses))
    lines.append(_list("Procedure", "Procedures", current.procedures))
    lines.append(QUESTION)
    return "\n".join(lines)


def _earlier_lines(number: int, part: _Part) -> list[str]:
    lines = [
        f"Earlier visit {number}, {_months(part.months_before)} before this one.",
        _list("Diagnosis", "Diagnoses", part.diagnoses),
    ]
    if part.procedures:
        lines.append(_list("Procedure", "Procedures", part.procedures))
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


def _history_line(total: int, shown: int) -> str:
    if total == 0:
        return "This is the first visit on record."
    earlier = "1 earlier visit is" if total == 1 else f"{total} earlier visits are"
    if shown == total:
        return f"{earlier} on record."
    if shown == 0:
        return f"{earlier} on record, not shown."
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


def _omissions(
    full: list[_Part], kept: list[_Part], full_now: _Part, now: _Part
) -> tuple[str, ...]:
    said = []
    dropped = len(full) - len(kept)
    if dropped:
        which = "the oldest " if kept else ""
        said.append(f"{which}{dropped} of {_count(len(full), 'earlier visit')}")
    pairs = [("the present visit", full_now, now)]
    if kept:
        pairs.insert(0, ("the latest earlier visit", full[-1], kept[-1]))
    for owner, before, after in pairs:
        for name, singular in (("diagnoses", "diagnosis"), ("procedures", "procedure")):
            left, had = len(getattr(after, name)), len(getattr(before, name))
            if left < had:
                noun = singular if had == 1 else name
                said.append(f"the last {had - left} of {had} {noun} of {owner}")
    return tuple(said)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _lower_first(name: str) -> str:
    """Lower the first letter unless the word is an abbreviation such as "ACE"."""
    return name if name[:2].isupper() else name[:1].lower() + name[1:]
