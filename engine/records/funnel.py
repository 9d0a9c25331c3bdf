"""What became of every row: read, kept, dropped and why. Printed, and kept in the manifest.

A drug name is free text, in which someone may have written a patient's name. So a name that was
not recognised is shown only where it is frequent, and without what looks like a number or an
address of a person.
"""

import re
from dataclasses import asdict, dataclass, field

LARGEST = 15  # unmapped names printed; the manifest holds more
FEWEST_ROWS = 5  # a name in fewer rows is counted, never shown
LONGEST_NAME = 100  # characters
EMAIL = re.compile(r"[^\s@]+@[^\s@]+")
PHONE = re.compile(r"[+(]?\d[\d\s()./-]{5,}\d")  # or a date, or several numbers in a row
PHONE_DIGITS = 7
LONG_NUMBER = re.compile(r"\d{5,}")


@dataclass(frozen=True)
class TableCount:
    """The rows of one table. `emptied` counts kept rows in which one value was left empty."""

    table: str
    read: int
    kept: int
    dropped: dict[str, int] = field(default_factory=dict)  # reason → rows
    emptied: dict[str, int] = field(default_factory=dict)  # reason → rows


@dataclass(frozen=True)
class Funnel:
    """The whole of an ingest in numbers.

    `mapping` counts the prescription rows of the cohort's visits that have a drug name.
    """

    tables: tuple[TableCount, ...]
    absent: tuple[str, ...]  # optional tables that were not there
    patients: int
    visits: int
    labelled_visits: int
    first_visits: int
    mapping: dict[str, int]  # "mapped", "non_drug", "unmapped" → rows
    unmapped: tuple[tuple[str, int], ...]  # (name, rows), the most frequent first; none rare
    unmapped_names: int = 0  # all of them
    vocabulary: dict[str, int] = field(default_factory=dict)  # kind → codes that models learn

    @property
    def recognised(self) -> float:
        """Share of prescription rows that reached a group or are known to be no drug."""
        rows = sum(self.mapping.values())
        return 1 - self.mapping["unmapped"] / rows if rows else 1.0

    def to_dict(self) -> dict:
        """Return plain values for `manifest.json`."""
        return asdict(self)

    def as_text(self) -> str:
        """Return the funnel as an aligned table."""
        lines = [f"{'table':<18}{'read':>12}{'kept':>12}{'dropped':>12}"]
        for count in self.tables:
            dropped = sum(count.dropped.values())
            lines.append(f"{count.table:<18}{count.read:>12,}{count.kept:>12,}{dropped:>12,}")
            lines += [f"{rows:>56,}  {why}" for why, rows in _largest_first(count.dropped)]
            lines += [f"{rows:>56,}  kept, {why}" for why, rows in _largest_first(count.emptied)]
        lines += [
            f"{name:<18}{'not there; titles come from the engine':>42}" for name in self.absent
        ]
        lines += [
            "",
            f"{'patients':<18}{self.patients:>12,}",
            f"{'visits':<18}{self.visits:>12,}",
            f"{'  labelled':<18}{self.labelled_visits:>12,}  with a diagnosis and a medication",
            f"{'  first':<18}{self.first_visits:>12,}  with no earlier admission on record",
        ]
        if self.vocabulary:
            lines += ["", "vocabulary: what the training patients have, for models to learn"]
            lines += [f"{f'  {kind}':<18}{size:>12,}" for kind, size in self.vocabulary.items()]
        lines += ["", "prescriptions of these visits, by drug name"]
        rows = sum(self.mapping.values())
        for kind, meaning in (
            ("mapped", "to a medication group"),
            ("non_drug", "vehicle, flush, device or supply"),
            ("unmapped", "not recognised"),
        ):
            share = self.mapping[kind] / rows if rows else 0.0
            lines.append(
                f"  {kind.replace('_', '-'):<16}{self.mapping[kind]:>12,}{share:>8.1%}  {meaning}"
            )
        if self.mapping["unmapped"]:
            lines += ["", "names not recognised"]
            lines += [f"  {rows:>8,}  {_printable(n)}" for n, rows in self.unmapped[:LARGEST]]
            names, rows = self.rarer(LARGEST)
            if names:
                lines.append(f"  {rarer_names(names, rows)}")
        return "\n".join(lines)

    def rarer(self, shown: int) -> tuple[int, int]:
        """Return the names not recognised beside the first `shown`, and their rows."""
        listed = self.unmapped[:shown]
        rows = self.mapping["unmapped"] - sum(rows for _, rows in listed)
        return self.unmapped_names - len(listed), rows


def masked(name: str) -> str:
    """Return a name as it may be shown: no e-mail address, phone number or number of 5 digits."""
    name = EMAIL.sub("[address]", name[: 10 * LONGEST_NAME])
    name = PHONE.sub(_without_phone, name)
    return LONG_NUMBER.sub("[number]", name)[:LONGEST_NAME]


def rarer_names(names: int, rows: int) -> str:
    """Return `1 rarer name (3 rows)`: what stands for the names that are not shown."""
    return (
        f"{names:,} rarer name{'s' if names != 1 else ''} ({rows:,} row{'s' if rows != 1 else ''})"
    )


def _largest_first(reasons: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(reasons.items(), key=lambda reason: (-reason[1], reason[0]))


def _without_phone(found: re.Match) -> str:
    digits = sum(char.isdigit() for char in found.group())
    return "[number]" if digits >= PHONE_DIGITS else found.group()


def _printable(name: str) -> str:
    """Show what a terminal would obey as a question mark."""
    return "".join(char if char.isprintable() else "?" for char in name)
