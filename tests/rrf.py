"""A tiny RxNorm release in the column layout of the real one, written by hand.

The rows are modelled on RxNorm; the numbers of concepts that are real drugs are RxNorm's own
where we know them, all others are invented.
"""

from collections.abc import Iterable
from pathlib import Path

# (RXCUI, TTY, name, SUPPRESS): RxNorm's own names.
CONCEPTS = [
    (1191, "IN", "aspirin", "N"),
    (161, "IN", "acetaminophen", "N"),
    (7804, "IN", "oxycodone", "N"),
    (82063, "PIN", "oxycodone hydrochloride", "N"),
    (214183, "MIN", "acetaminophen / oxycodone", "N"),
    (29046, "IN", "lisinopril", "N"),
    (5487, "IN", "hydrochlorothiazide", "N"),
    (7980, "IN", "penicillin G", "N"),
    (7982, "PIN", "penicillin G benzathine", "N"),
    (4124, "IN", "ethinyl estradiol", "N"),
    (31994, "IN", "norgestimate", "N"),
    (748794, "IN", "inert ingredients", "N"),
    (42844, "BN", "Percocet", "N"),
    (317300, "SCDC", "aspirin 81 MG", "N"),
    (243670, "SCD", 'aspirin 81 MG "Chewable" Oral Tablet', "N"),
    (243670, "PSN", "aspirin 81 MG Chewable Oral Tablet for heart", "N"),
    (330596, "SCDC", "oxycodone hydrochloride 5 MG", "N"),
    (315266, "SCDC", "acetaminophen 325 MG", "N"),
    (1049683, "SCD", "acetaminophen 325 MG / oxycodone hydrochloride 5 MG Oral Tablet", "N"),
    (1049640, "SBD", "acetaminophen 325 MG / oxycodone HCl 5 MG Oral Tablet [Percocet]", "N"),
    (900001, "SCD", "hydrochlorothiazide 12.5 MG / lisinopril 10 MG Oral Tablet", "N"),
    (900002, "SCD", "penicillin G benzathine 600000 UNT/ML Prefilled Syringe", "N"),
    (900003, "SCD", "ethinyl estradiol 0.035 MG / norgestimate 0.18 MG Oral Tablet", "N"),
    (900004, "SCD", "inert ingredients 1 MG Oral Tablet", "N"),
    (900005, "GPCK", "{21 (ethinyl estradiol / norgestimate) / 7 (inert) } Pack", "N"),
    (900006, "SCD", "aspirin 325 MG Oral Tablet [discontinued]", "O"),
    (900007, "SCD", "lisinopril 10 MG Oral Tablet", "N"),
    (900008, "SCD", "penicillin G potassium 20000000 UNT Injection", "N"),
    (900009, "SCD", "tree pollen extract", "N"),
]
# (product, relation, towards), read as it is written here.
RELATIONS = [
    (317300, "has_ingredient", 1191),
    (243670, "consists_of", 317300),
    (330596, "has_precise_ingredient", 82063),
    (330596, "has_ingredient", 7804),
    (82063, "form_of", 7804),
    (315266, "has_ingredient", 161),
    (1049683, "consists_of", 330596),
    (1049683, "consists_of", 315266),
    (1049683, "has_ingredients", 214183),
    (214183, "has_part", 161),
    (214183, "has_part", 82063),
    (1049640, "tradename_of", 1049683),
    (1049640, "has_ingredient", 42844),
    (42844, "tradename_of", 161),
    (42844, "tradename_of", 7804),
    (900001, "has_ingredient", 29046),
    (900001, "has_ingredient", 5487),
    (900002, "has_precise_ingredient", 7982),
    (900002, "has_ingredient", 7980),
    (7982, "form_of", 7980),
    (900003, "has_ingredient", 4124),
    (900003, "has_ingredient", 31994),
    (900004, "has_ingredient", 748794),
    (900005, "contains", 900003),
    (900005, "contains", 900004),
    (900006, "has_ingredient", 1191),
    (900007, "has_ingredient", 29046),
    (900008, "has_ingredient", 7980),
]
INVERSE = {
    "has_ingredient": "ingredient_of",
    "has_ingredients": "ingredients_of",
    "has_precise_ingredient": "precise_ingredient_of",
    "consists_of": "constitutes",
    "contains": "contained_in",
    "tradename_of": "has_tradename",
    "has_part": "part_of",
    "form_of": "has_form",
}
# (RXCUI, code, SUPPRESS)
ATC = [
    (1191, "A01AD05", "N"),
    (1191, "B01AC06", "N"),
    (1191, "N02BA01", "N"),
    (1191, "N02BA", "N"),  # a group, no drug
    (1191, "V99XX99", "O"),  # withdrawn
    (161, "N02BE01", "N"),
    (7804, "N02AA05", "N"),
    (214183, "N02AJ17", "N"),
    (29046, "C09AA03", "N"),
    (5487, "C03AA03", "N"),
    (7980, "J01CE01", "N"),
    (7980, "S01AA14", "N"),
    (7982, "J01CE08", "N"),
    (4124, "G03CA01", "N"),
    (31994, "G03AC11", "N"),
]
# (RXCUI, source, NDC as written, SUPPRESS)
NDCS = [
    (243670, "RXNORM", "00904404073", "N"),
    (1049683, "RXNORM", "00406051201", "N"),
    (1049683, "MTHSPL", "0406-0512-01", "N"),
    (1049640, "RXNORM", "63481062370", "N"),
    (900001, "MTHSPL", "0006-0943-31", "N"),
    (900001, "VANDF", "000006094382", "N"),
    (900002, "RXNORM", "60793070110", "N"),
    (900005, "RXNORM", "50458019115", "N"),
    (900006, "MMSL", "11111-222-33", "O"),  # obsolete, and no other
    (900006, "MMSL", "00904-2009-40", "O"),  # an old product's, given anew to lisinopril
    (900007, "RXNORM", "00904200940", "N"),
    (900007, "GS", "12345067890", "N"),  # two sources disagree
    (900008, "RXNORM", "12345067890", "N"),
    (900009, "RXNORM", "49643000105", "N"),
    (900007, "NDDF", "1234567890", "N"),  # ten digits: which?
    (900007, "NDDF", "none", "N"),
]


def write_rrf(folder: Path, concepts=CONCEPTS, relations=RELATIONS, atc=ATC, ndcs=NDCS) -> Path:
    """Write RXNCONSO, RXNREL and RXNSAT; every relation stands there in both directions."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [
        [rxcui, "ENG", "", "", "", "", "", 10_000 + row, rxcui, rxcui, "", "RXNORM", kind, rxcui]
        + [name, "", suppress, "4096"]
        for row, (rxcui, kind, name, suppress) in enumerate(concepts)
    ]
    names += [
        [rxcui, "ENG", "", "", "", "", "", 20_000 + row, "", code, "", "ATC", "IN", code]
        + [f"WHO name of {code}", "0", suppress, ""]
        for row, (rxcui, code, suppress) in enumerate(atc)
    ]
    # Another source's name for the same concept, and one without a place in RxNorm.
    names += [
        [1191, "ENG", "", "", "", "", "", 30_000, "", "7544", "", "DRUGBANK", "IN", "DB00945"]
        + ["Acetylsalicylic acid", "0", "N", ""]
    ]
    links = []
    for row, (product, relation, towards) in enumerate(relations):
        for one, name, other in (
            (towards, relation, product),
            (product, INVERSE[relation], towards),
        ):
            links.append(
                [
                    one,
                    "",
                    "CUI",
                    "RO",
                    other,
                    "",
                    "CUI",
                    name,
                    row,
                    "",
                    "RXNORM",
                    "",
                    "",
                    "",
                    "",
                    "",
                ]
            )
    # What links here and says nothing about ingredients, and a relation of another source.
    links += [
        [317541, "", "CUI", "RO", 243670, "", "CUI", "has_dose_form", "", "", "RXNORM"] + [""] * 5,
        ["", 1, "AUI", "RO", "", 2, "AUI", "has_ingredient", "", "", "SNOMEDCT_US"] + [""] * 5,
    ]
    attributes = [
        [rxcui, "", "", 10_000 + row, "AUI", rxcui, "", "", "NDC", source, code, suppress, "4096"]
        for row, (rxcui, source, code, suppress) in enumerate(ndcs)
    ]
    attributes += [
        [243670, "", "", 1, "AUI", "1", "", "", "RXN_HUMAN_DRUG", "RXNORM", "US", "N", "4096"]
    ]
    write_lines(folder / "RXNCONSO.RRF", names)
    write_lines(folder / "RXNREL.RRF", links)
    write_lines(folder / "RXNSAT.RRF", attributes)
    return folder


def write_lines(path: Path, rows: Iterable[list]) -> None:
    """Write rows as RRF: fields that each end in a vertical bar, no quoting."""
    lines = ("".join(f"{value}|" for value in row) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
