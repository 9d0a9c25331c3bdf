"""Which patients train, validate and test. By patient, seeded, and stored with the cohort."""

import hashlib
from collections.abc import Iterable

SPLITS = ("train", "validation", "test")
RATIOS = (0.8, 0.1, 0.1)


def split_patients(
    patients: Iterable[str], seed: int, ratios: tuple[float, float, float] = RATIOS
) -> dict[str, str]:
    """Return patient id → `"train"`, `"validation"` or `"test"`, sorted by patient id.

    Each patient is placed by a hash of the seed and the id alone: the order of the rows plays no
    part, and a patient keeps the same place when the hospital's next export brings new ones, so
    nobody tested on yesterday is trained on tomorrow. The shares are met on average, not exactly.
    """
    if any(ratio < 0 for ratio in ratios) or abs(sum(ratios) - 1) > 1e-9:
        raise ValueError(f"ratios must be positive and add up to 1, not {ratios}")
    train, validation = ratios[0], ratios[0] + ratios[1]

    def place(patient: str) -> str:
        digest = hashlib.sha256(f"{seed}:{patient}".encode()).digest()
        share = int.from_bytes(digest[:8], "big") / 2**64
        return SPLITS[0] if share < train else SPLITS[1] if share < validation else SPLITS[2]

    return {patient: place(patient) for patient in sorted(set(patients))}
