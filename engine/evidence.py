"""What the models were given and what they answered, as SHA-256 sums that prove it later.

The audit and decisions hold these instead of the record: who has the cohort can work out the sum of
a visit again and see whether it is the one that was shown.
"""

import hashlib
import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

from engine.records.schema import Visit

if TYPE_CHECKING:  # brings PyTorch, which who only reads an audit does not need
    from engine.recommender import Recommendation

NOT_GIVEN = ("medications", "drugs")  # of the visit itself: what the models are to find out
DIGITS = 6  # of a probability; the last ones differ between processors


def input_hash(visit: Visit) -> str:
    """Return the SHA-256 (hex) of a visit as the models may see it, its history included."""
    given = asdict(visit)
    for name in NOT_GIVEN:
        del given[name]
    return _sum(given)


def output_hash(said: "Recommendation") -> str:
    """Return the SHA-256 (hex) of what the models answered; how fast they did is left out."""
    rows = [
        [row.atc, *(None if p is None else round(p, DIGITS) for p in (row.teacher, row.student))]
        for row in said.rows
    ]
    return _sum({"versions": said.versions, "thresholds": said.thresholds, "rows": rows})


def _sum(content: dict) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=_text)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _text(value: datetime) -> str:
    return value.isoformat()
