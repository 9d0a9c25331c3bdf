"""Drug names as wards write them, each checked by hand against the WHO's ATC groups."""

from collections import Counter

import duckdb
import pytest

from engine.terminology.drugs import match

# name, route, groups
WRITTEN = [
    # case, salts, strengths, forms, brackets
    ("HYDROmorphone (Dilaudid)", "PO", "N02A"),
    ("MetRONIDAZOLE (FLagyl)", "IV", "J01X"),
    ("MetRONIDAZOLE (FLagyl)", "PO", "P01A"),
    ("OxycoDONE (Immediate Release) ", "PO", "N02A"),
    ("Metoprolol Succinate XL", "PO", "C07A"),
    ("METOPROLOL TARTRATE 25 MG PO TABS", "PO", "C07A"),
    ("24 HR metoprolol succinate 50 MG Extended Release Oral Tablet", None, "C07A"),
    ("0.4 ML enoxaparin sodium 100 MG/ML Prefilled Syringe [Lovenox]", None, "B01A"),
    ("Losartan Potassium", "PO", "C09C"),
    ("Penicillin G Potassium", "IV", "J01C"),
    ("Levothyroxine Sodium", "PO", "H03A"),
    ("Lenalidomide (Revlimide)15mg ", "PO", "L04A"),
    ("Hydrocortisone Na Succ.", "IV", "H02A"),
    ("Insulin (Regular) for Hyperkalemia", "IV", "A10A"),
    ("Insulin Pump (Self Administering Medication)", "SC", "A10A"),
    ("Insulin Human Regular", "IV DRIP", "A10A"),
    ("SulfaSALAzine_", "PO/NG", "A07E"),
    ("Heparin (IABP)", "IV", "B01A"),
    ("Enoxaparin Sodium Syringe", "SC", "B01A"),
    ("Readi-Cat 2 (Barium Sulfate 2% Suspension)", "PO/NG", "V08B"),
    ("PHENObarbital - ICU Alcohol Withdrawal (Loading Dose 1) ", "IV", "N03A"),
    ("Furosemide-Heart Failure", "IV", "C03C"),
    ("Diazepam - CIWA protocol", "PO", "N05B"),
    ("DAPTOmycin in 0.9% Sodium Chloride", "IV", "J01X"),
    # markers, biosimilars, cut-off names
    ("*NF* Ertapenem Sodium", "IV", "J01D"),
    ("*IND* Remdesivir", "IV", "J05A"),
    ("INV-Pembrolizumab", "IV", "L01F"),
    ("donepezil 5 mg or placebo", "PO", "N06D"),
    ("Filgrastim-sndz", "SC", "L03A"),
    ("inFLIXimab-dyyb (Inflectra)", "IV", "L04A"),
    ("sodium bicar", "IV", "B05X"),
    ("Propra", "PO", "C07A"),
    ("Digox", "ORAL", "C01A"),
    # combinations: their own code, or that of each component
    ("Oxycodone-Acetaminophen (5mg-325mg)", "PO", "N02A"),
    ("OxyCODONE--Acetaminophen (5mg-325mg)", "PO/NG", "N02A"),
    ("Acetaminophen w/Codeine", "PO", "N02A"),
    ("Acetaminophen-Caff-Butalbital", "PO", "N02B"),
    ("Piperacillin-Tazobactam", "IV", "J01C"),
    ("Amoxicillin-Clavulanic Acid", "PO", "J01C"),
    ("Sulfameth/Trimethoprim DS", "PO", "J01E"),
    ("Ipratropium-Albuterol Neb", "NEB", "R03A"),
    ("Albuterol-Ipratropium", "IH", "R03A"),
    ("Fluticasone-Salmeterol Diskus (250/50) ", "IH", "R03A"),
    ("Sacubitril-Valsartan (24mg-26mg)", "PO", "C09D"),
    ("amLODIPine-Benazepril", "PO", "C09B"),
    ("Losartan-Hydrochlorothiazide", "PO", "C09D"),
    ("Triamterene-HCTZ (37.5/25)", "PO", "C03E"),
    ("Carbidopa-Levodopa CR (25-100)", "PO", "N04B"),
    ("Emtricitabine-Tenofovir (Truvada)", "PO", "J05A"),
    ("Nystatin-Triamcinolone Cream", "TP", "D07C"),
    ("Lidocaine 1%/Epinephrine 1:100000", "SC", "N01B"),
    ("Aluminum-Magnesium Hydrox.-Simethicone", "PO", "A02A"),
    ("Maalox/Diphenhydramine/Lidocaine", "PO", "A01A"),
    ("Belladonna & Opium (16.2/30mg)", "PR", "A03B N02A"),
    ("Fentanyl 2mcg/mL + Bupivacaine 0.1%", "ED", "N01A N01B N02A"),
    ("Guaifenesin-CODEINE Phosphate", "PO/NG", "R05F"),
    ("Perphenazine-Amitriptyline", "PO", "N06C"),
    ("Neomycin-Polymyxin-HC Otic Susp", "AU", "S02C"),
    ("Dorzolamide 2%/Timolol 0.5% Ophth.", "LEFT EYE", "S01E"),
    ("Peg-Electrolyte Soln", "PO", "A06A"),
    ("Multivitamins W/minerals", "PO", "A11A"),
    ("Vitamin B Complex w/C", "PO", "A11E"),
    ("ceFAZolin-Dextrose (2-4 GM/100ML)", "IV", "J01D"),  # the dextrose only carries it
    # one drug, several codes: the route decides
    ("Vancomycin", "IV", "J01X"),
    ("Vancomycin", "PO", "A07A"),
    ("Vancomycin Enema", "PR", "A07A"),
    ("Vancomycin", None, "J01X"),
    ("Timolol Maleate 0.5%", "BOTH EYES", "S01E"),
    ("Timolol", "PO", "C07A"),
    ("PrednisoLONE Acetate 1% Ophth. Susp.", "RIGHT EYE", "S01B"),
    ("prednisoLONE", "PO", "H02A"),
    ("Aspirin", "PO", "B01A N02B"),
    ("Aspirin 81 mg ", "PO", "B01A"),
    ("ASPIRIN 81 MG PO CHEW", "PO", "B01A"),
    ("Aspirin EC", "PO", "B01A"),
    ("Ciprofloxacin 0.3% Ophth Soln", "RIGHT EAR", "S02A"),
    ("Ciprofloxacin 0.3% Ophth Soln", "RIGHT EYE", "S01A"),
    ("Ciprofloxacin HCl", "PO", "J01M"),
    ("Dexamethasone Ophthalmic Susp 0.1%", "LEFT EAR", "S02B"),
    ("Dexamethasone", "IV", "H02A"),
    ("Hydrocortisone Cream 2.5%", "TP", "D07A"),
    ("Hydrocortisone (Rectal) 2.5% Cream", "PR", "C05A"),
    ("Hydrocortisone Enema", "PR", "A07E"),
    ("Triamcinolone Acetonide 0.1% Cream", "TP", "D07A"),
    ("Fluticasone Propionate NASAL", "NU", "R01A"),
    ("Fluticasone Propionate 110mcg", "IH", "R03B"),
    ("Mupirocin Nasal Ointment 2%", "NU", "R01A"),
    ("Mupirocin Cream 2%", "TP", "D06A"),
    ("Clotrimazole", "PO", "A01A"),
    ("Clotrimazole Cream", "TP", "D01A"),
    ("Miconazole Nitrate Vag Cream 2%", "VG", "G01A"),
    ("Nystatin Oral Suspension", "PO", "A07A"),
    ("Nystatin Cream", "TP", "D01A"),
    ("Erythromycin 0.5% Ophth Oint", "OU", "S01A"),
    ("Atropine Sulfate 1%", "SL", "A03B"),
    ("Atropine 1% Ophth", "OU", "S01F"),
    ("Acetylcysteine 20%", "NEB", "R05C"),
    ("Acetylcysteine (IV)", "IV", "V03A"),
    ("Lidocaine 5% Patch", "TD", "N01B"),
    ("Lidocaine 5% Patch", "TP", "N01B"),
    ("Lidocaine 1%", "SC", "N01B"),
    ("Lidocaine", "IV DRIP", "C01B"),
    ("Lidocaine Viscous 2%", "PO", "R02A"),
    ("Fentanyl Patch", "TD", "N02A"),
    ("Fentanyl Citrate", "IV DRIP", "N01A N02A"),
    ("Epinephrine 1:1000", "IM", "C01C"),
    ("Racepinephrine", "IH", "R03A"),
    ("PHENYLEPHrine", "IV DRIP", "C01C"),
    ("Phenylephrine 2.5% Ophth. Soln", "OU", "S01F"),
    ("nitroglycerin", "PR", "C05A"),
    ("Nitroglycerin SL", "SL", "C01D"),
    ("Chlorhexidine Gluconate 0.12% Oral Rinse", "ORAL", "A01A"),
    ("Chlorhexidine 4% Soap", "TP", "D08A"),
    ("Tacrolimus", "PO", "L04A"),
    ("Tacrolimus 0.1% Ointment", "TP", "D11A"),
    ("Methotrexate Sodium P.F.", "IT", "L01B"),
    ("Methotrexate", "PO", "L01B L04A"),
    ("Buprenorphine-Naloxone (8mg-2mg)", "SL", "N07B"),
    ("Buprenorphine", "TD", "N02A"),
    ("BCG (Tice)", "IVES", "L03A"),
    # electrolytes and fluids
    ("Potassium Chloride", "IV", "B05X"),
    ("Potassium Chloride", "PO", "A12B"),
    ("Potassium Chloride Replacement (Critical Care and Oncology) ", "PO", "A12B"),
    ("Magnesium Sulfate", "IV", "B05X"),
    ("Magnesium Oxide", "PO", "A12C"),
    ("Neutra-Phos", "PO", "A12C"),
    ("Calcium Gluconate", "IV", "B05X"),
    ("Calcium Gluconate", "PO", "A12A"),
    ("Calcium Acetate", "PO", "V03A"),
    ("Sodium Bicarbonate", "IV", "B05X"),
    ("Sodium Bicarbonate", "PO", "A02A"),
    ("Sodium Chloride", "PO", "A12C"),
    ("Sodium Chloride Nasal", "NU", "R01A"),
    ("Sodium Chloride 3% Inhalation Soln", "NEB", "R05C"),
    ("Sodium Chloride 3% (Hypertonic)", "IV", "B05X"),
    ("0.9% Sodium Chloride", "IV", "B05B"),
    ("SODIUM CHLORIDE 0.9 % IV SOLN", "IV", "B05B"),
    ("Dextrose 50%", "IV", "B05B"),
    ("Glucose Gel", "PO", "V06D"),
    ("Prismasate (B32 K2)", "DIALYS", "B05Z"),
    ("Albumin 25% (12.5g / 50mL)", "IV", "B05A"),
    ("Fat Emulsion 20%", "IV", "B05B"),
    ("Multivitamin IV", "IV DRIP", "B05X"),
    # vaccines, contrast, diagnostics, the rest of the formulary
    ("PNEUMOcoccal 23-valent polysaccharide vaccine", "IM", "J07A"),
    ("Influenza Vaccine Quadrivalent", "IM", "J07B"),
    ("Tetanus-Diphtheria Tox-Adult", "IM", "J07A"),
    ("Hepatitis B Immune Globulin (Nabi-HB)", "IM", "J06B"),
    ("Tuberculin Protein", "ID", "V04C"),
    ("Iohexol 240", "PO", "V08A"),
    ("Gadobutrol", "IV", "V08C"),
    ("Sarna Lotion", "TP", "D04A"),
    ("Artificial Tear Ointment", "BOTH EYES", "S01X"),
    ("Rasburicase", "IV", "V03A"),
    ("venetoclax", "ORAL", "L01X"),
    ("ruxolitinib", "ORAL", "L01E"),
    ("Antithymocyte Globulin (Rabbit)", "IV", "L04A"),
    ("Botulinum Toxin Type A", "IM", "M03A"),
    ("Sugammadex", "IV", "V03A"),
    ("Gabapentin", "PO", "N02B"),  # WHO moved the gabapentinoids from N03A in 2023
]

# name, route, drug_type, kind of non-drug
NOT_DRUGS = [
    ("0.9% Sodium Chloride", "IV", "BASE", "vehicle"),
    ("0.9% Sodium Chloride (Mini Bag Plus)", "IV", "BASE", "vehicle"),
    ("NS        (Glass Bottle)", "IV", "BASE", "vehicle"),
    ("5% Dextrose (EXCEL BAG)", "IV", "BASE", "vehicle"),
    ("D5W", "IV BOLUS", "BASE", "vehicle"),
    ("Iso-Osmotic Dextrose", "IV", "BASE", "vehicle"),
    ("SW", "IV", "BASE", "vehicle"),
    ("Sterile Water", "IV DRIP", "BASE", "vehicle"),
    ("Soln.", "IV", "BASE", "vehicle"),
    ("Sterile Diluent for Flolan", "IV DRIP", "BASE", "vehicle"),
    ("Click Change <--- to Choose a Base Solution", "IV", "BASE", "vehicle"),
    ("Sodium Chloride 0.9%  Flush", "IV", "MAIN", "flush"),
    ("Heparin Flush (10 units/ml)", "IV", "MAIN", "flush"),
    ("Heparin Dwell (1000 Units/mL)", "DWELL", "MAIN", "flush"),
    ("Sodium CITRATE 4%", "DWELL", "MAIN", "flush"),
    ("Heparin Lock", "IV", None, "flush"),
    ("Heparin (CRRT Machine Priming)", "DIALYS", "MAIN", "device"),
    ("Citrate Dextrose 3% (ACD-A) CRRT", "DIALYS", "MAIN", "device"),
    ("Lancets", None, None, "device"),
    ("Bag", "IV", "BASE", "supply"),
    ("Vial", "SC", "BASE", "supply"),
    ("Syringe (0.9% Sodium Chloride)", "IV", "BASE", "supply"),
    ("Insulin Syringe U-500", "SC", "BASE", "supply"),
    ("Yellow CADD Cassette", "ED", "BASE", "supply"),
]

# Fluids that are treatment even in a BASE row.
BASE_TREATMENTS = [
    ("Lactated Ringers", "B05B"),
    ("D5 1/2NS", "B05B"),
    ("0.45% Sodium Chloride", "B05B"),
    ("Potassium Chl 20 mEq / 1000 mL D5 1/2 NS", "B05B"),
    ("Amino Acids 4.25%-Dextrose 5%", "B05B"),
    ("Sodium Chloride 3% (Hypertonic)", "B05X"),
]


@pytest.mark.parametrize(("name", "route", "groups"), WRITTEN)
def test_written_names(name, route, groups):
    found = match(name, route, "MAIN")
    assert (found.kind, " ".join(found.groups)) == ("mapped", groups)
    assert found.ingredient
    assert found.rule


@pytest.mark.parametrize(("name", "route", "drug_type", "kind"), NOT_DRUGS)
def test_what_is_no_drug(name, route, drug_type, kind):
    found = match(name, route, drug_type)
    assert found.kind == "non_drug"
    assert found.groups == ()
    assert found.rule.startswith(kind + ":")


@pytest.mark.parametrize(("name", "group"), BASE_TREATMENTS)
def test_fluids_given_for_their_own_sake(name, group):
    assert match(name, "IV", "BASE").groups == (group,)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "  ",
        "adde",
        "Ny",
        "Zzyxomab",
        "Study Drug",
        "Bedside commode",
        "Vitamin",
        "12345",
        "%",
        "Tazobactam",
    ],
)
def test_unknown_names_stay_unmapped(name):
    found = match(name, "PO", "MAIN")
    assert (found.kind, found.groups) == ("unmapped", ())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("hydralazine", "hydroxyzine"),
        ("cefazolin", "ceftriaxone"),
        ("dopamine", "dobutamine"),
        ("clonidine", "clonazepam"),
        ("vinblastine", "vincristine"),
        ("prednisone", "prednisolone"),
    ],
)
def test_look_alike_names_are_not_confused(one, other):
    assert match(one, "IV").ingredient == one
    assert match(other, "IV").ingredient == other


@pytest.mark.parametrize("name", ["morfine", "metoprolal", "hydralazime", "cefazoline sodum"])
def test_spelling_is_never_guessed(name):
    assert match(name).kind == "unmapped"


def test_a_missing_route_or_an_unknown_one_reads_the_form_in_the_name():
    assert match("Timolol Ophth. Soln").groups == ("S01E",)
    assert match("Budesonide Nasal Spray", "no such route").groups == ("R01A",)


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("Timolol Maleate 0.5% Oph Soln", "S01E"),
        ("timolol opth", "S01E"),
        ("timolol gtts ou", "S01E"),
        ("timolol 1 drop os", "S01E"),
        ("Prednisolone acetate oph", "S01B"),
        ("Ofloxacin oph soln", "S01A"),
        ("ofloxacin gtts au", "S02A"),
        ("Diclofenac gel", "M02A"),
        ("Diclofenac patch", "M02A"),
        ("Ibuprofen gel caps", "M01A"),
        ("Lidocaine IV drip", "C01B"),
        ("lidocaine gtt", "C01B"),
        ("KCl 20 mEq IVPB", "B05X"),
        ("aspirin 81 mg od", "B01A"),  # once daily, not an eye
    ],
)
def test_the_words_of_a_form(name, group):
    assert match(name).groups == (group,)


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("Timoptic", "S01E"),
        ("Timoptic-XE 0.5%", "S01E"),
        ("Pred Forte 1%", "S01B"),
        ("Prednisolone acetate", "S01B"),
        ("Firvanq", "A07A"),
        ("Vancomycin (Firvanq)", "A07A"),
        ("Entocort", "A07E"),
        ("Rhinocort", "R01A"),
        ("Peridex", "A01A"),
        ("Ciloxan", "S01A"),
        ("Cetraxal", "S02A"),
        ("Flonase", "R01A"),
        ("Flovent", "R03B"),
        ("Gyne-Lotrimin", "G01A"),
        ("Cortenema", "A07E"),
        ("Caverject", "G04B"),
        ("Protopic", "D11A"),
        ("Tice BCG", "L03A"),
    ],
)
def test_a_brand_that_is_given_in_one_way_only_stands_in_for_a_missing_route(name, group):
    assert match(name).groups == match(name, "no such route").groups == (group,)


def test_a_written_route_wins_over_the_brand():
    assert match("Timoptic", "PO").groups == ("C07A",)
    assert match("Firvanq", "IV").groups == ("J01X",)
    assert match("Prednisolone acetate", "PO").groups == ("H02A",)
    assert match("Timoptic", "OU").rule == "name; route ophthalmic"


def test_the_order_of_components_does_not_matter():
    one, other = match("Valsartan-Sacubitril", "PO"), match("Sacubitril/Valsartan", "PO")
    assert one.groups == other.groups == ("C09D",)
    assert one.ingredient == other.ingredient


def test_an_endless_name_is_answered():
    assert match("x" * 1_000_000).kind == "unmapped"
    assert match("(" * 100_000 + "aspirin").kind == "unmapped"


@pytest.mark.parametrize(
    "table", ["mimic-iv-demo/hosp/prescriptions.csv.gz", "mimic-iii-demo/PRESCRIPTIONS.csv"]
)
def test_the_demos_are_covered(demo_data, table):
    rows = duckdb.sql(
        f"SELECT drug, route, drug_type FROM read_csv('{demo_data / table}', all_varchar=true)"
    ).fetchall()
    kinds = Counter(match(*row).kind for row in rows)
    assert kinds["unmapped"] <= 0.02 * len(rows)
    assert kinds["mapped"] >= 0.7 * len(rows)
