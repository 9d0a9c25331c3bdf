"""What a person can choose about a cohort. The manifest keeps every choice.

python -m engine ingest mimic-iv INPUT_DIR COHORT_DIR --first-day --top-k diagnoses=2000
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from engine.errors import WorkbenchError
from engine.files import sha256
from engine.records.schema import PROFILE_FIELDS

VOCABULARIES = ("diagnoses", "procedures", "medications")
MOST = 1_000_000_000  # beyond it a number is a slip of the finger


@dataclass(frozen=True)
class IngestOptions:
    """The choices of one ingest; the defaults keep everything.

    A code left out of the vocabulary by `min_count` or `top_k` stays in the records and in the
    prompt; the student reads it as unknown, and a medication group becomes no label. Raises
    WorkbenchError for a choice that cannot be.
    """

    preset: str | None = None  # the published cohort these choices started from
    split_seed: int = 0  # decides which patients train, validate and test
    first_day: bool = False  # only medications started within 24 hours of admission
    min_visits: int = 1  # patients with fewer admissions are left out
    min_count: Mapping[str, int] = field(
        default_factory=dict
    )  # vocabulary → training visits needed
    top_k: Mapping[str, int] = field(default_factory=dict)  # vocabulary → most frequent codes kept
    profile_off: tuple[str, ...] = ()  # profile fields left empty
    icd10: bool = False  # ICD-9 diagnoses are translated where there is an equivalent
    drug_map: Path | None = None  # NDC → ATC, from `engine terminology rxnorm`

    def __post_init__(self) -> None:
        for name in ("min_count", "top_k"):
            for kind, number in getattr(self, name).items():
                if kind not in VOCABULARIES or not 1 <= number <= MOST:
                    raise WorkbenchError(
                        f"--{name.replace('_', '-')} {kind}={number}: expected 1 to {MOST:,} for "
                        f"{', '.join(VOCABULARIES)}"
                    )
        if not 1 <= self.min_visits <= MOST:
            raise WorkbenchError(f"--min-visits {self.min_visits}: expected 1 to {MOST:,}")
        for name in self.profile_off:
            if name not in PROFILE_FIELDS:
                raise WorkbenchError(
                    f"--profile-off {name}: no such field; there are {', '.join(PROFILE_FIELDS)}"
                )

    def to_dict(self) -> dict:
        """Return plain values for the manifest; of the drug map its sum, as paths differ."""
        plain = asdict(replace(self, min_count={}, top_k={}))
        return plain | {
            "drug_map": self.drug_map and {"sha256": sha256(self.drug_map)},
            "min_count": dict(sorted(self.min_count.items())),
            "top_k": dict(sorted(self.top_k.items())),
            "profile_off": sorted(self.profile_off),
        }


# The cohort of LEADER (Liu et al., arXiv 2402.02803) and of the work it compares with: patients
# with at least two admissions, the 2,000 most frequent diagnoses, training, validation and test
# in the ratio 8:1:1 (which is how every cohort is split).
PRESETS = {
    "paper": IngestOptions(preset="paper", min_visits=2, top_k={"diagnoses": 2000}),
}
