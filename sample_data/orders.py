"""Prescription rows as the ward system writes them: MAIN, BASE and ADDITIVE, repeated orders."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from sample_data.chance import one_of, pick, poisson
from sample_data.knowledge_base import Drug, KnowledgeBase
from sample_data.visits import VisitRecord

# Share of rows with the field empty, counted in the MIMIC-IV demo
_MISSING = {
    "stoptime": 0.0008,
    "formulary_drug_cd": 0.0007,
    "ndc": 0.0012,
    "prod_strength": 0.0005,
    "dose_val_rx": 0.0005,
    "route": 0.0003,
    "order_provider_id": 0.005,
}
_NO_GENERIC_SEQUENCE_NUMBER = 0.04  # of stocked products; flushes never have one
_FORMS = {
    "tab": "TAB", "tablet": "TAB", "capsule": "CAP", "vial": "VIAL", "syringe": "SYR",
    "bag": "BAG", "patch": "PTCH", "tube": "TUBE", "udcup": "UDCUP", "packet": "PKT",
    "premix": "BAG", "bottle": "BTL", "ampule": "AMP", "supp": "SUPP", "inhaler": "INH",
}  # fmt: skip
_VEHICLES = {
    "0.9% Sodium Chloride": {
        "0.9% Sodium Chloride": 5, "0.9% Sodium Chloride (Mini Bag Plus)": 2, "NS": 0.6,
        "Syringe (0.9% Sodium Chloride)": 0.5, "Bag": 2, "Soln": 0.5,
    },
    "Iso-Osmotic Dextrose": {"Iso-Osmotic Dextrose": 6, "Bag": 1, "Iso-Osmotic Sodium Chloride": 1},
    "5% Dextrose": {"5% Dextrose": 6, "D5W": 1, "Dextrose 5%": 1, "5% Dextrose (EXCEL BAG)": 1},
    "0.9% Sodium Chloride (Mini Bag Plus)": {"0.9% Sodium Chloride (Mini Bag Plus)": 1},
    "5% Dextrose (EXCEL BAG)": {"5% Dextrose (EXCEL BAG)": 3, "5% Dextrose": 1},
    "D5W": {"D5W": 1, "Sterile Water": 1},
}  # fmt: skip
_REPEATED = {
    "insulin_sliding_scale": 1.5, "potassium_iv": 1.4, "magnesium_sulfate": 0.9, "warfarin": 1.3,
    "furosemide_iv": 1.2, "potassium_oral": 1.2, "normal_saline": 0.9, "vancomycin": 1.0,
    "hydromorphone": 0.8, "calcium_gluconate": 0.8, "lactated_ringers": 0.6, "propofol": 0.8,
    "morphine": 0.5, "furosemide": 0.6, "insulin_glargine": 0.7, "albumin_25": 1.0,
}  # fmt: skip
_MOST_ROWS = 160


@dataclass
class PrescriptionRow:
    """One row of the prescriptions table; times are unshifted."""

    start: datetime
    stop: datetime | None
    drug_type: str
    drug: str
    formulary_code: str
    generic_sequence_number: str
    national_drug_code: str
    product: str
    dose: str
    dose_unit: str
    form_value: str
    form_unit: str
    per_day: str
    route: str
    provider: str
    accompanies: bool = False  # the vehicle of the row before it


def prescription_rows(
    visit: VisitRecord, agents: list[str], prescriber: str, knowledge: KnowledgeBase
) -> list[PrescriptionRow]:
    """All rows of a visit, ordered by start time."""
    random = visit.patient.random
    rows: list[PrescriptionRow] = []
    for agent in agents:
        drug = knowledge.drugs[agent]
        mean = _REPEATED.get(agent, 0.13) * min(visit.days, 14) / 6
        for repeat in range(1 + poisson(random, mean)):
            rows.extend(_order(random, visit, drug, prescriber, repeat))
    rows.sort(key=lambda row: row.start)
    return rows[:_MOST_ROWS]


def _order(
    random: Random, visit: VisitRecord, drug: Drug, prescriber: str, repeat: int
) -> list[PrescriptionRow]:
    start, stop = _times(random, visit, repeat)
    route = one_of(random, drug.routes)
    dose = one_of(random, drug.doses)
    value, _, unit = dose.partition(" ")
    row = PrescriptionRow(
        start=start,
        stop=stop,
        drug_type=drug.drug_type,
        drug=pick(random, drug.names),
        formulary_code=_formulary_code(drug.key, drug.product),
        generic_sequence_number=_generic_sequence_number(drug),
        national_drug_code=_national_drug_code(drug),
        product=drug.product,
        dose=value,
        dose_unit=unit,
        form_value="1",
        form_unit=_form(drug.product),
        per_day=str(one_of(random, drug.daily)) if drug.daily else "",
        route=route,
        provider=prescriber,
    )
    rows = [row]
    if drug.base and route in ("IV", "IV DRIP", "ED"):
        rows.append(_vehicle(random, drug, row))
    for each in rows:
        _lose_fields(random, each)
    return rows


def _vehicle(random: Random, drug: Drug, main: PrescriptionRow) -> PrescriptionRow:
    volume = "100" if main.route == "IV" else "250"
    vehicle = pick(random, _VEHICLES.get(drug.base, {drug.base: 1}))
    return PrescriptionRow(
        start=main.start,
        stop=main.stop,
        drug_type="BASE",
        drug=vehicle,
        formulary_code=_formulary_code(vehicle, volume),
        generic_sequence_number="001210" if volume == "100" else "",
        national_drug_code="0",
        product=f"{volume} mL Bag",
        dose=volume,
        dose_unit="mL",
        form_value=volume,
        form_unit="mL",
        per_day=main.per_day,
        route=main.route,
        provider=main.provider,
        accompanies=True,
    )


def _times(random: Random, visit: VisitRecord, repeat: int) -> tuple[datetime, datetime]:
    """Most orders start in the first hours and run to discharge; repeats lie in between."""
    hours = max(1, int(visit.days * 24))
    begin = visit.admitted.replace(minute=0) + timedelta(hours=1)
    if repeat == 0 and random.random() < 0.62:
        offset = int(random.random() * min(3, hours))
    else:
        offset = int(random.random() * hours)
    start = begin + timedelta(hours=offset)
    end = visit.discharged.replace(minute=0) + timedelta(hours=1)
    if random.random() < 0.4 or repeat:
        end = start + timedelta(hours=int(random.random() * max(1, hours - offset)))
    return start, end


def _lose_fields(random: Random, row: PrescriptionRow) -> None:
    if random.random() < _MISSING["stoptime"]:
        row.stop = None
    if random.random() < _MISSING["formulary_drug_cd"]:
        row.formulary_code = ""
    if random.random() < _MISSING["ndc"]:
        row.national_drug_code = ""
    if random.random() < _MISSING["prod_strength"]:
        row.product = ""
    if random.random() < _MISSING["dose_val_rx"]:
        row.dose = row.dose_unit = row.form_value = row.form_unit = ""
    if random.random() < _MISSING["route"]:
        row.route = ""
    if random.random() < _MISSING["order_provider_id"]:
        row.provider = ""


def _formulary_code(name: str, product: str) -> str:
    letters = re.sub(r"[^A-Z]", "", name.upper())[:5]
    digits = re.match(r"[\d.]*", product).group().replace(".", "")[:4]
    return letters + digits


def _digits(text: str, count: int) -> str:
    number = int(hashlib.sha256(text.encode()).hexdigest(), 16)
    return str(number)[-count:]


def _has_codes(drug: Drug) -> bool:
    return drug.group != "not_a_drug" and drug.drug_type != "BASE"


def _national_drug_code(drug: Drug) -> str:
    """Eleven digits in the layout of an NDC, made from the product (labeler 99999: none real)."""
    return "99999" + _digits(drug.key + drug.product, 6) if _has_codes(drug) else "0"


def _generic_sequence_number(drug: Drug) -> str:
    if not _has_codes(drug):
        return ""
    if int(_digits("absent" + drug.key, 4)) / 10_000 < _NO_GENERIC_SEQUENCE_NUMBER:
        return ""
    return "0" + _digits(drug.key, 5)


def _form(product: str) -> str:
    for word in reversed(product.lower().split()):
        if word in _FORMS:
            return _FORMS[word]
    return "mL"
