"""What became of every row: read, kept, dropped and why. Printed, and kept in the manifest."""

from dataclasses import asdict, dataclass, field

LARGEST = 15  # unmapped names printed; the manifest holds more


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
    """The whole of an ingest in numbers. Mapping counts are prescription rows with a drug name."""

    tables: tuple[TableCount, ...]
    absent: tuple[str, ...]  # optional tables that were not there
    patients: int
    visits: int
    labelled_visits: int
    first_visits: int
    mapping: dict[str, int]  # "mapped", "non_drug", "unmapped" → rows
    unmapped: tuple[tuple[str, int], ...]  # name → rows, the most frequent first

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
            "",
            "prescriptions, by drug name",
        ]
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
        if self.unmapped:
            lines += ["", "largest names not recognised"]
            lines += [f"  {rows:>8,}  {_printable(n)}" for n, rows in self.unmapped[:LARGEST]]
        return "\n".join(lines)


def _largest_first(reasons: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(reasons.items(), key=lambda reason: (-reason[1], reason[0]))


def _printable(name: str) -> str:
    """Show what a terminal would obey as a question mark."""
    return "".join(char if char.isprintable() else "?" for char in name)
