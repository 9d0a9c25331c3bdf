"""`python -m engine terminology rxnorm | lookup`: the drug map from RxNorm, and what a code is."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "terminology", help="build a drug map from RxNorm; look a name or code up"
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    rxnorm = kinds.add_parser("rxnorm", help="RxNorm's RRF files → a map NDC → ATC, for ingest")
    rxnorm.add_argument(
        "rrf_dir",
        type=Path,
        metavar="RRF_DIR",
        help="folder with RXNCONSO.RRF, RXNREL.RRF and RXNSAT.RRF of a full RxNorm release",
    )
    rxnorm.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        default=Path("data/rxnorm.sqlite"),
        help="the map to write (default data/rxnorm.sqlite)",
    )
    rxnorm.set_defaults(run=run_rxnorm)
    lookup = kinds.add_parser("lookup", help="what a drug name, NDC, ICD or ATC code maps to")
    lookup.add_argument("text", nargs="+", metavar="TEXT_OR_CODE")
    lookup.add_argument("--route", metavar="ROUTE", help="as a hospital writes it, e.g. PO, IV, OU")
    lookup.add_argument(
        "--drug-type",
        type=str.upper,
        choices=("MAIN", "BASE", "ADDITIVE"),
        help="type of the row in MIMIC's prescriptions (default: all, where the answers differ)",
    )
    lookup.add_argument(
        "--drug-map", type=Path, metavar="FILE", help="map of `terminology rxnorm`, for NDCs"
    )
    lookup.add_argument("--json", action="store_true", help="print JSON instead of text")
    lookup.set_defaults(run=run_lookup)


def run_rxnorm(arguments: argparse.Namespace) -> int:
    from engine.terminology import rxnorm

    counts = rxnorm.build(arguments.rrf_dir, arguments.output)
    width = max(len(f"{number:,}") for number in counts.values())
    for name, number in counts.items():
        print(f"{number:{width},}  {_COUNTED[name]}")
    print(f"\ndrug map written to {arguments.output}; use it with: ingest … --drug-map")
    print("as rxnorm.sqlite in the installation's folder the app reads it for FHIR bundles")
    return 0


def run_lookup(arguments: argparse.Namespace) -> int:
    from engine.terminology.lookup import lookup
    from engine.terminology.rxnorm import DrugMap

    drug_map = DrugMap.open(arguments.drug_map) if arguments.drug_map else None
    text = " ".join(arguments.text)
    entries = lookup(text, arguments.route, drug_map, arguments.drug_type)
    if arguments.json:
        print(json.dumps([asdict(entry) for entry in entries], indent=2, ensure_ascii=False))
    else:
        print("\n\n".join(as_text(entry) for entry in entries))
    return 0


def as_text(entry) -> str:
    """Return an entry as aligned text: what it is, then a line for each fact."""
    lines = [f"{entry.kind}  {entry.code}  {entry.title}"]
    width = max((len(label) for label in entry.facts), default=0)
    for label, value in entry.facts.items():
        rows = [value] if isinstance(value, str) else _columns(value)
        lines += [f"  {label if first else '':{width}}  {row}" for first, row in _marked(rows)]
    return "\n".join(lines)


_COUNTED = {
    "ndcs": "NDCs",
    "ndcs_with_atc": "of them lead to an ATC code",
    "products": "products (RxCUI) behind them",
    "atc_codes": "ATC codes in RxNorm",
    "unreadable_ndcs": "lines left out: an NDC that cannot be read, or in more than one way",
}


def _columns(rows: list[dict[str, str]]) -> list[str]:
    widths = {name: max(len(row[name]) for row in rows) for name in (rows[0] if rows else ())}
    lines = ["  ".join(f"{row[name]:{widths[name]}}" for name in row).rstrip() for row in rows]
    return lines or ["none"]


def _marked(rows: list[str]) -> list[tuple[bool, str]]:
    return [(place == 0, row) for place, row in enumerate(rows)]
