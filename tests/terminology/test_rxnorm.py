"""RxNorm's files → drug map, on a tiny release in the real column layout."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from engine.errors import WorkbenchError
from engine.terminology import rxnorm
from tests import rrf


@pytest.fixture(scope="module")
def drug_map(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rxnorm")
    rrf.write_rrf(folder / "rrf")
    rxnorm.build(folder / "rrf", folder / "map.sqlite")
    return rxnorm.DrugMap.open(folder / "map.sqlite")


def test_an_ingredient_with_several_codes_keeps_them_all(drug_map):
    assert drug_map.codes("00904404073") == ("A01AD05", "B01AC06", "N02BA01")


def test_a_quotation_mark_is_a_character_like_any_other(drug_map):
    entry = drug_map.find("0904-4040-73")
    assert entry.name == 'aspirin 81 MG "Chewable" Oral Tablet'
    assert (entry.ndc, entry.rxcui, entry.ingredients) == ("00904404073", "243670", ("aspirin",))


@pytest.mark.parametrize("ndc", ["00406051201", "63481062370"])
def test_a_combination_takes_its_own_code_also_under_a_brand(drug_map, ndc):
    entry = drug_map.find(ndc)
    assert entry.codes == ("N02AJ17",)
    assert entry.ingredients == ("acetaminophen", "oxycodone")


def test_a_combination_without_a_code_takes_those_of_its_ingredients(drug_map):
    assert drug_map.codes("00006094331") == ("C03AA03", "C09AA03")


def test_a_salt_with_a_code_speaks_for_its_ingredient(drug_map):
    assert drug_map.codes("60793070110") == ("J01CE08",)
    assert drug_map.find("60793070110").ingredients == ("penicillin G",)


def test_a_pack_holds_the_ingredients_of_its_parts(drug_map):
    entry = drug_map.find("50458-191-15")
    assert entry.codes == ("G03AC11", "G03CA01")
    assert entry.ingredients == ("ethinyl estradiol", "inert ingredients", "norgestimate")


@pytest.mark.parametrize("ndc", ["6-943-82", "0006-0943-82", "6094382", "000006094382"])
def test_an_ndc_is_found_however_it_is_written(drug_map, ndc):
    assert drug_map.codes(ndc) == ("C03AA03", "C09AA03")


def test_ten_digits_are_read_the_one_way_that_is_known(drug_map):
    assert drug_map.codes("5045819115") == ("G03AC11", "G03CA01")  # 5-3-2
    assert drug_map.codes("0406051201") == ("N02AJ17",)  # 4-4-2, or a zero lost


def test_ten_digits_that_are_known_two_ways_are_not_guessed(tmp_path):
    ndcs = [(243670, "RXNORM", "05045801911", "N"), (900007, "RXNORM", "50458001911", "N")]
    rxnorm.build(rrf.write_rrf(tmp_path / "rrf", ndcs=ndcs), tmp_path / "map")
    assert rxnorm.DrugMap.open(tmp_path / "map").codes("5045801911") == ()


def test_an_obsolete_ndc_is_kept_and_an_active_mapping_wins(drug_map):
    assert drug_map.find("11111022233").ingredients == ("aspirin",)
    assert drug_map.find("00904200940").ingredients == ("lisinopril",)


def test_rxnorm_itself_wins_over_other_sources(drug_map):
    assert drug_map.find("12345067890").ingredients == ("penicillin G",)


def test_a_product_without_ingredients_is_found_without_codes(drug_map):
    entry = drug_map.find("49643000105")
    assert (entry.name, entry.ingredients, entry.codes) == ("tree pollen extract", (), ())


@pytest.mark.parametrize("ndc", ["99999999999", "0", "", "aspirin"])
def test_an_unknown_ndc_has_no_entry_and_no_codes(drug_map, ndc):
    assert drug_map.find(ndc) is None
    assert drug_map.codes(ndc) == ()


def test_counts_say_what_was_found(tmp_path):
    counts = rxnorm.build(rrf.write_rrf(tmp_path / "rrf"), tmp_path / "map")
    assert counts == {
        "ndcs": 11,
        "ndcs_with_atc": 10,
        "products": 10,
        "atc_codes": 13,
        "unreadable_ndcs": 2,
    }


def test_the_same_files_give_the_same_bytes_whatever_their_order(tmp_path):
    rxnorm.build(rrf.write_rrf(tmp_path / "rrf"), tmp_path / "one")
    turned = {
        name.lower(): getattr(rrf, name)[::-1] for name in ("CONCEPTS", "RELATIONS", "ATC", "NDCS")
    }
    rxnorm.build(rrf.write_rrf(tmp_path / "turned", **turned), tmp_path / "other")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    one, other = (rxnorm.DrugMap.open(tmp_path / name) for name in ("one", "other"))
    assert len(one.sha256) == 64
    assert one.sha256 == other.sha256


def test_relations_in_one_direction_are_enough(tmp_path, drug_map):
    folder = rrf.write_rrf(tmp_path / "rrf")
    lines = (folder / "RXNREL.RRF").read_text().splitlines(keepends=True)
    for start in (0, 1):
        (folder / "RXNREL.RRF").write_text("".join(lines[start::2]))
        rxnorm.build(folder, tmp_path / f"map{start}")
        one_way = rxnorm.DrugMap.open(tmp_path / f"map{start}")
        assert one_way.sha256 == drug_map.sha256


def test_the_folder_of_a_release_is_taken_as_well(tmp_path):
    rrf.write_rrf(tmp_path / "RxNorm_full" / "rrf")
    assert rxnorm.build(tmp_path / "RxNorm_full", tmp_path / "map")["ndcs"] == 11


def test_reading_from_many_threads(drug_map):
    ndcs = [code for _, _, code, _ in rrf.NDCS] * 50
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(drug_map.codes, ndcs)) == [drug_map.codes(ndc) for ndc in ndcs]


def refused(rrf_dir, path) -> str:
    """The one line a build stops with; nothing may be left behind."""
    before = sorted(path.parent.iterdir())
    with pytest.raises(WorkbenchError) as stopped:
        rxnorm.build(rrf_dir, path)
    assert sorted(path.parent.iterdir()) == before
    assert "\n" not in str(stopped.value)
    return str(stopped.value)


def test_a_missing_folder_is_named(tmp_path):
    assert "nowhere: no such folder" in refused(tmp_path / "nowhere", tmp_path / "map")


@pytest.mark.parametrize("name", ["RXNCONSO.RRF", "RXNREL.RRF", "RXNSAT.RRF"])
class TestDamagedFiles:
    def test_a_missing_file_is_named(self, tmp_path, name):
        folder = rrf.write_rrf(tmp_path / "rrf")
        (folder / name).unlink()
        assert f"{name} is missing" in refused(folder, tmp_path / "map")

    def test_a_line_with_too_few_fields_is_named(self, tmp_path, name):
        folder = rrf.write_rrf(tmp_path / "rrf")
        lines = (folder / name).read_text().splitlines()
        lines[3] = lines[3].rpartition("|")[0].rpartition("|")[0]
        (folder / name).write_text("\n".join(lines))
        said = refused(folder, tmp_path / "map")
        assert f"{name}: line 4 has" in said
        assert "expected" in said

    def test_a_cut_off_file_is_named(self, tmp_path, name):
        folder = rrf.write_rrf(tmp_path / "rrf")
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) - 9])
        assert f"{name}: line" in refused(folder, tmp_path / "map")

    def test_another_encoding_is_named(self, tmp_path, name):
        folder = rrf.write_rrf(tmp_path / "rrf")
        lines = (folder / name).read_bytes().splitlines(keepends=True)
        lines[5] = lines[5].replace(b"|", b"\xe9|", 1)
        (folder / name).write_bytes(b"".join(lines))
        assert f"{name}: line 6 is not UTF-8" in refused(folder, tmp_path / "map")

    def test_an_empty_file_says_what_it_should_hold(self, tmp_path, name):
        folder = rrf.write_rrf(tmp_path / "rrf")
        (folder / name).write_text("")
        assert f"{name}: holds no" in refused(folder, tmp_path / "map")


def test_a_release_without_atc_or_ndc_says_which_to_take(tmp_path):
    folder = rrf.write_rrf(tmp_path / "no_atc", atc=[])
    assert "no ATC codes" in refused(folder, tmp_path / "map")
    folder = rrf.write_rrf(tmp_path / "no_ndc", ndcs=[])
    assert "no NDCs" in refused(folder, tmp_path / "map")


def test_a_concept_that_is_no_number_is_named(tmp_path):
    folder = rrf.write_rrf(tmp_path / "rrf", concepts=[("C12", "IN", "aspirin", "N")])
    assert "line 1 has an RXCUI that is no number" in refused(folder, tmp_path / "map")


def test_a_map_is_replaced_but_nothing_else_is(tmp_path, drug_map):
    folder = rrf.write_rrf(tmp_path / "rrf")
    (tmp_path / "notes.txt").write_text("mine")
    assert "no drug map" in refused(folder, tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert "no drug map" in refused(folder, tmp_path / "rrf")
    rxnorm.build(folder, tmp_path / "map")
    rxnorm.build(folder, tmp_path / "map")
    assert rxnorm.DrugMap.open(tmp_path / "map").sha256 == drug_map.sha256


@pytest.mark.parametrize("content", [None, b"", b"ndc,code\n", "another database"])
def test_what_is_no_map_is_not_opened(tmp_path, content):
    path = tmp_path / "map"
    if content == "another database":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE ndc (ndc TEXT)")
        connection.close()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(WorkbenchError, match="terminology rxnorm RRF_DIR"):
        rxnorm.DrugMap.open(path)


def test_a_cut_off_map_is_not_opened(tmp_path, drug_map):
    content = drug_map.path.read_bytes()
    (tmp_path / "map").write_bytes(content[: len(content) // 2])
    with pytest.raises(WorkbenchError, match="no whole drug map"):
        rxnorm.DrugMap.open(tmp_path / "map")


def test_a_damaged_map_is_named(tmp_path, drug_map):
    content = drug_map.path.read_bytes()
    (tmp_path / "map").write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    damaged = rxnorm.DrugMap.open(tmp_path / "map")
    with pytest.raises(WorkbenchError, match="is damaged"):
        damaged.codes("00904404073")


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    folder = rrf.write_rrf(tmp_path / "rrf")
    with pytest.raises(OSError):  # the command line names the place and exits with 2
        rxnorm.build(folder, tmp_path / "file" / "map")
