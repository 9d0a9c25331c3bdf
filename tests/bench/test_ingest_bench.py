"""The benchmark of ingesting: it runs the real commands, prints a table, writes figures."""

import json

import pytest

from bench import ingest
from bench.__main__ import BENCHMARKS, build_parser, main

DOCUMENTED = {
    "benchmark", "date", "revision", "machine", "versions", "ingest", "growth", "limits", "search",
}  # fmt: skip
MACHINE = {"processor", "cores", "memory_bytes", "load_average_at_start", "system"}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """One run at a tiny size, with the tables kept: what was printed, and the JSON."""
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest, "SIZES", (50, 200))
        arguments = ["--patients", "120", "--json", str(folder / "figures.json")]
        code = main(["ingest", *arguments, "--keep", str(folder / "kept")])
    assert code == 0
    return folder, json.loads((folder / "figures.json").read_text())


def test_the_figures_are_complete(measured):
    _, figures = measured
    assert figures.keys() == DOCUMENTED
    assert figures["machine"].keys() == MACHINE
    assert {"python", "duckdb"} <= figures["versions"].keys()
    assert [one["patients"] for one in figures["ingest"]] == [50, 120]
    for one in figures["ingest"]:
        assert one["rows"] == sum(one["rows_by_table"].values())
        for name in ("seconds", "cpu_seconds", "peak_bytes", "cohort_bytes", "times_bare_scan"):
            assert one[name] > 0, name
    assert len(figures["growth"]) == 1


def test_the_limits_are_judged_at_their_own_size_only(measured):
    _, figures = measured
    assert figures["limits"]["met"] == {"seconds": None, "peak_memory": None}
    small = figures["ingest"][0]
    large = {**small, "patients": 300_000, "seconds": 299.0, "peak_bytes": 4_100_000_000}
    assert ingest.limits([small, large]) == {"seconds": True, "peak_memory": False}
    text = ingest.as_text([small, large])
    assert "5 minutes on two cores: met" in text
    assert "4 GB peak memory: NOT MET" in text


def test_the_search_is_measured_on_the_largest_cohort(measured):
    _, figures = measured
    search = figures["search"]
    assert search["patients"] == 120
    assert search["searches"]["everybody"]["found"] == 120
    assert search["searches"]["patient id"]["found"] == 1
    assert search["searches"]["not there: zzyzx"]["found"] == 0
    assert search["searches"]["drug furosemide"]["found"] > 0
    assert search["search"]["p50_ms"] <= search["search"]["max_ms"]


def test_tables_and_cohorts_are_kept_where_asked(measured):
    folder, _ = measured
    assert (folder / "kept" / "tables-120" / "prescriptions.csv.gz").is_file()
    assert (folder / "kept" / "cohort-120" / "manifest.json").is_file()


def test_the_search_alone_prints_its_table(measured, capsys):
    folder, _ = measured
    assert main(["search", str(folder / "kept" / "cohort-120")]) == 0
    assert "heart failure, furosemide" in capsys.readouterr().out


def test_what_a_person_can_mend_is_one_line(tmp_path, capsys):
    assert main(["search", str(tmp_path / "nowhere")]) == 2
    assert main(["ingest", "--patients", "0"]) == 2
    assert capsys.readouterr().err.count("error: ") == 2


def test_every_size_below_the_largest_is_measured():
    assert ingest.sizes(300_000) == [3_000, 30_000, 300_000]
    assert ingest.sizes(30_000) == [3_000, 30_000]
    assert ingest.sizes(200) == [200]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        build_parser().parse_args([name.replace("_", "-"), "--help"])
    assert stopped.value.code == 0
    assert f"bench {name.replace('_', '-')}" in capsys.readouterr().out
