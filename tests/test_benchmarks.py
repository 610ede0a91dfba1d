"""Every benchmark runs to its end on a tiny setting, and writes what it promises."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from benchmarks import (
    coverage,
    gpu,
    hh_lengths,
    job,
    judge,
    memory,
    refine,
    refine_negatives,
    scale,
    scorer,
    start,
    store_requests,
)
from benchmarks.lengths import FILE, Lengths, by_length, random_pairs
from benchmarks.same import metric_lines
from benchmarks.same_texts import Thing, compare_texts, folder_texts, normal, read_patterns
from encore_ray.storage import fingerprint
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parent.parent
DTYPES = ("float32", "bf16")
WAYS = ("padded_8", "padded_64", "length_sorted", "one_by_one")


@pytest.fixture
def as_for_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what the suite sets for its commands, nothing; and planted text for want of a corpus."""
    for name in ("ENCORE_RAY_CORPORA", "ENCORE_RAY_CLUSTER_ENGINE", "ENCORE_RAY_TRACKING_ENABLED"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def threads() -> Iterator[None]:
    """The number of threads, as it was before a benchmark that changes it."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_committed_lengths_are_those_of_every_pair():
    lengths = Lengths.read()
    assert len(lengths) == len(lengths.chosen_N) == len(lengths.rejected_N) == 2312
    assert (lengths.shared_N >= 1).all()
    assert (lengths.shared_N <= np.minimum(lengths.chosen_N, lengths.rejected_N)).all()


def test_random_pairs_have_exactly_the_lengths_they_are_made_for():
    lengths = Lengths.read().take(50)
    made = Lengths.of(random_pairs(lengths, vocab_size=8, seed=1))  # so few ids that branches often start alike
    for made_N, wanted_N in zip(vars(made).values(), vars(lengths).values(), strict=True):
        np.testing.assert_array_equal(made_N, wanted_N)


def test_a_sample_has_one_pair_of_each_length_stratum_in_the_corpus_order():
    tokens_N = np.random.default_rng(0).permutation(40)
    sample = by_length(Lengths(tokens_N, tokens_N, tokens_N), num_pairs=4, seed=3)
    assert sample == sorted(sample)
    assert sorted(tokens_N[sample] // 10) == [0, 1, 2, 3]  # ten pairs a stratum


def test_the_lengths_can_be_made_anew(corpora: Path, tmp_path: Path):
    hh_lengths.main(
        ["--corpus", str(corpora / "hh-rlhf" / "harmless-base-test.jsonl.gz"), "--output", str(tmp_path / "lengths")]
    )
    assert (tmp_path / "lengths").read_bytes() == FILE.read_bytes()


@pytest.mark.usefixtures("threads")
def test_the_scorer_benchmark_writes_a_ratio_for_every_dtype_and_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ENCORE_RAY_CORPORA", raising=False)
    tiny = ["--rounds", "1", "--round-pairs", "8", "--hidden-size", "64", "--layers", "1"]
    scorer.main([*tiny, "--json", str(tmp_path / "scorer.json")])
    ratios = json.loads((tmp_path / "scorer.json").read_text(encoding="utf-8"))
    floor = ratios.pop("floor")
    assert list(floor) == list(DTYPES) and all(0 < share < 1 for share in floor.values())
    assert {dtype: tuple(of_dtype) for dtype, of_dtype in ratios.items()} == dict.fromkeys(DTYPES, WAYS)
    assert all(ratio > 0 for of_dtype in ratios.values() for ratio in of_dtype.values())


@pytest.mark.usefixtures("threads")
def test_the_judge_benchmark_writes_the_speedup_and_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ENCORE_RAY_CORPORA", raising=False)
    tiny = ["--rounds", "1", "--round-pairs", "1", "--hidden-size", "64", "--layers", "1"]
    judge.main([*tiny, "--json", str(tmp_path / "judge.json")])
    found = json.loads((tmp_path / "judge.json").read_text(encoding="utf-8"))
    assert 1 < found["bound"] < found["tree_bound"] < judge.NUM_RULES
    assert found["speedup"] > 1 and found["bf16"]["speedup"] > 1
    assert all(0 <= share <= 1 for share in found["orders"].values())


def test_the_gpu_benchmark_runs_on_a_cpu_to_be_seen(tmp_path: Path):
    tiny = ["--device", "cpu", "--shapes", "tiny", "--pairs", "16", "--rounds", "1", "--batch-tokens", "2048"]
    gpu.main([*tiny, "--json", str(tmp_path / "gpu.json")])
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    ways = found["shapes"]["tiny"]["ways"]
    assert list(ways) == ["tree", "packed", "length_sorted", "padded_64"]
    lengths = Lengths.read().take(16)
    sequences = int((lengths.chosen_N + lengths.rejected_N).sum())
    # A row cut inside a pair computes its prompt again: at least the tree, less than all sequences.
    assert lengths.tree_N.sum() <= 16 * ways["tree"]["computed_per_pair"] < sequences
    filling = 16 * ways["packed"]["computed_per_pair"] - sequences  # rows on a CPU are filled up to multiples of 32
    assert 0 <= filling < 32 * sequences / 1024
    padded = 16 * int(lengths.chosen_N.max() + lengths.rejected_N.max())
    assert 16 * ways["padded_64"]["computed_per_pair"] == pytest.approx(padded)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_gpu_benchmark_says_that_there_is_no_gpu(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        gpu.main([])
    assert stopped.value.code == 2
    assert "no CUDA device" in capsys.readouterr().err


@pytest.mark.usefixtures("threads")
def test_the_refine_benchmark_writes_the_speedup_with_and_without_the_kept_part(tmp_path: Path):
    tiny = ["--dims", "16", "--batch", "32", "--rounds", "1", "--train-pairs", "128"]
    refine.main([*tiny, "--json", str(tmp_path / "refine.json")])
    found = json.loads((tmp_path / "refine.json").read_text(encoding="utf-8"))
    assert list(found) == ["speedup", "speedup_uncached"]
    assert min(found.values()) > 0


@pytest.mark.usefixtures("threads")
def test_the_refine_benchmark_fits_and_applies_units_of_a_run(tmp_path: Path):
    refine.main(["--rows", "1024", "--dims", "8", "--paper-steps", "0", "--json", str(tmp_path / "refine.json")])
    found = json.loads((tmp_path / "refine.json").read_text(encoding="utf-8"))
    assert list(found) == ["fit 1024", "apply 1024"]
    assert len(found["apply 1024"]["mib"]) == 3
    assert found["fit 1024"]["mib"][0] > 100  # torch alone takes more


def test_the_benchmark_of_negatives_fits_with_random_ones_and_with_strata(tmp_path: Path, threads: None):
    path = tmp_path / "negatives.json"
    sizes = ["--pairs", "32", "--judge-pairs", "16", "--seeds", "2", "--epochs", "1", "--negatives", "80"]
    refine_negatives.main([*sizes, "--json", str(path)])
    found = json.loads(path.read_text())
    assert [len(found[name]) for name in ("random", "strata")] == [2, 2]
    assert found["random"][0]["loss"] != found["strata"][0]["loss"]
    assert found["random_over_strata"] > 0


@pytest.mark.usefixtures("as_for_a_user")
def test_the_scale_benchmark_writes_seconds_and_memory_of_each_pass(tmp_path: Path):
    path = tmp_path / "scale.json"
    scale.main(["--pairs", "500", "1000", "--engine", "local", "--folder", str(tmp_path), "--json", str(path)])
    found = json.loads(path.read_text())
    for costs in (found["500"], found["1000"]):
        assert [*costs] == ["prepare", "score", "weigh", "compose", "evaluate", "compare", "report"]
        assert all(cost["seconds"] > 0 and cost["driver_mib"] > 20 for cost in costs.values())
    assert [*tmp_path.iterdir()] == [path]


def test_the_benchmark_of_requests_counts_those_of_further_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store_requests, "COMMANDS", ("job",))  # a request takes 30 ms here
    path = tmp_path / "requests.json"
    store_requests.main(["--units", "1", "3", "--json", str(path)])
    found = json.loads(path.read_text())["job"]
    assert found["write"] >= 3 and found["read"] >= 3 and found["dollars_a_million_units"] > 15


@pytest.mark.ray
@pytest.mark.usefixtures("as_for_a_user")
def test_the_job_benchmark_writes_the_overhead(tmp_path: Path):
    tiny = ["--pairs", "40", "--rounds", "1", "--actors", "1", "--hidden-size", "64", "--layers", "1"]
    job.main([*tiny, "--json", str(tmp_path / "job.json")])
    found = json.loads((tmp_path / "job.json").read_text(encoding="utf-8"))
    assert list(found) == ["overhead"]
    assert found["overhead"] > -1


@pytest.mark.ray
@pytest.mark.usefixtures("as_for_a_user")
def test_the_memory_benchmark_writes_the_peaks_of_actor_and_driver(tmp_path: Path):
    memory.main(["--pairs", "40", "--json", str(tmp_path / "memory.json")])
    found = json.loads((tmp_path / "memory.json").read_text(encoding="utf-8"))
    assert list(found) == ["40"]
    assert found["40"]["actor_mib"] > 100  # torch alone takes more
    assert found["40"]["driver_mib"] > 50


@pytest.mark.usefixtures("as_for_a_user")
def test_the_prepare_benchmark_writes_rows_a_second_and_ratios(tmp_path: Path):
    command = [sys.executable, "benchmarks/prepare.py", "--rows", "300", "60", "--rounds", "1"]
    command += ["--json", str(tmp_path / "prepare.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "prepare.json").read_text(encoding="utf-8"))
    assert {corpus: set(figures) for corpus, figures in found.items()} == {
        "rated": {"rows_per_s", "ours_over_datasets", "ours_over_duckdb"},
        "hh": {"rows_per_s", "ours_over_datasets"},
    }
    assert all(figure > 0 for figures in found.values() for figure in figures.values())


@pytest.mark.ray
@pytest.mark.usefixtures("as_for_a_user")
def test_the_reduce_benchmark_counts_and_composes_as_duckdb_and_writes_the_ratios(tmp_path: Path):
    tiny = ["--pairs", "600", "2000", "--unit-pairs", "100", "--rules", "3", "--rounds", "1"]
    command = [
        sys.executable,
        "benchmarks/reduce.py",
        *tiny,
        "--json",
        str(tmp_path / "reduce.json"),
    ]  # a Ray of its own
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr  # where the two differ, too
    found = json.loads((tmp_path / "reduce.json").read_text(encoding="utf-8"))
    ours = ["consensus_over_encore", "compare_over_weigh", "evaluate_over_weigh"]
    assert list(found) == ["histogram_over_duckdb", "compose_over_duckdb", *ours]


def write_pass(folder: Path, *, attempt: str, seconds: float, scores: list[float]) -> Path:
    """The folder of a finished pass of one unit, as one attempt at it leaves it."""
    for name in ("data", "commits"):
        (folder / "scores" / name).mkdir(parents=True)
    file = f"data/unit-{attempt}.parquet"
    pq.write_table(pa.table({"pair_id": ["a", "b"], "score": scores}), folder / "scores" / file)
    row = {"unit": "unit", "file": file, "rows": 2, "digest": "d"}
    pq.write_table(pa.Table.from_pylist([row]), folder / "scores" / "manifest.parquet")
    record = {"unit": "unit", "data": [row], "seconds": seconds}
    text = json.dumps({**record, "digest": fingerprint(record)}, indent=2)
    (folder / "scores" / "commits" / "unit-0123456789ab.json").write_text(text)
    (folder / "weights.json").write_text('{"weight": 0.5}\n')
    return folder


def test_runs_of_the_same_code_are_equal_whatever_their_attempts_are_called_and_take(tmp_path: Path):
    one = write_pass(tmp_path / "one", attempt="0123abcd", seconds=0.5, scores=[0.1, 0.2])
    two = write_pass(tmp_path / "two", attempt="99999999", seconds=7.25e-05, scores=[0.1, 0.2])
    assert list(folder_texts(one)) == ["scores/manifest", "scores/columns", "scores/commits", "weights.json"]
    assert folder_texts(one) == folder_texts(two)


def test_a_score_that_differs_in_its_last_bit_is_told_with_its_column(tmp_path: Path):
    one = write_pass(tmp_path / "one", attempt="0123abcd", seconds=0.5, scores=[0.1, 0.2])
    two = write_pass(tmp_path / "two", attempt="0123abcd", seconds=0.5, scores=[0.1, np.nextafter(0.2, 1)])
    things = compare_texts("chain", folder_texts(one), folder_texts(two))
    assert [thing.what for thing in things if not thing.is_equal] == ["scores/manifest", "scores/columns"]
    (columns,) = [thing for thing in things if thing.what == "scores/columns"]
    changed = [line for line in columns.difference(num_lines=20).splitlines() if line[0] in "+-"]
    assert [line.split()[0] for line in changed[2:]] == ["-score", "+score"]


def test_of_what_a_command_says_only_times_are_left_out():
    told = (
        "  score     32 of 64 · 5/s · 9 s left\n  score by tree: no forward ran for 1.5% of the actors' time\nscored\n"
    )
    left = "  score by tree: no forward ran for TIME of the actors' time\nscored\n"
    assert normal("said: run", told) == left
    assert normal("weights.json", told) == told
    assert normal("said: status run", "score finished 2/2 64/64  121\n") == "score finished 2/2 64/64 RATE\n"


def test_a_difference_is_cut_and_is_allowed_by_its_name(tmp_path: Path):
    thing = Thing("help", "said: weigh --help", "a\nb\nc", "a\nd\ne")
    assert thing.difference(num_lines=4).splitlines() == [
        "--- before",
        "+++ after",
        "@@ -1,3 +1,3 @@",
        " a",
        "… 4 more lines",
    ]
    assert Thing("help", "new", None, "a").difference(num_lines=9).splitlines()[-1] == "+a"
    expected = tmp_path / "expected"
    expected.write_text("# of this change\nhelp/said: w*  # says more\n\n")
    assert read_patterns(expected) == ["help/said: w*"]
    assert thing.is_allowed(read_patterns(expected))
    assert not Thing("help", "said: score --help", "a", "b").is_allowed(read_patterns(expected))


def test_metrics_are_compared_by_names_and_labels():
    exported = (
        "# HELP ray_encore_ray_rows_total Rows.\n# TYPE ray_encore_ray_rows_total counter\n# TYPE ray_tasks gauge\n"
        'ray_encore_ray_rows_total{run="a",pass="score"} 7.0\nray_tasks{State="RUNNING"} 1.0\n'
    )
    assert list(metric_lines(exported)) == [*exported.splitlines()[:2], "ray_encore_ray_rows_total pass run"]


def test_processor_time_is_that_of_all_descendants():
    line = "8 (ray::a) (b c) S 7 1 1 0 -1 0 0 0 0 0 250 50 0 0 20 0 1 0 4711 0 0"
    seen = start.parse_stat(8, line)
    assert (seen.number, seen.parent, seen.started, seen.is_zombie) == (8, 7, 4711, False)
    assert seen.cpu_s == 300 / start.TICKS_A_SECOND
    others = [start.Seen(number, parent, 0, 0.0, False) for number, parent in ((1, 0), (7, 1), (9, 8), (10, 1))]
    assert [process.number for process in start.descendants([*others, seen], 7)] == [9, 8]


def test_intervals_hold_the_truth_of_planted_corpora_where_percentiles_of_a_bootstrap_do_not():
    found, seconds = coverage.measure(coverage.Cell("1", "noise", num_rules=10, num_pairs=400, num_corpora=30))
    # Of 30 corpora 95% are 28.5; three standard errors are 3.6.
    assert found["r(entropy, accuracy)"] >= 25 / 30
    assert found["difference"] >= 25 / 30
    assert 0.9 < found["entropy"] < 0.99  # of 300 rules
    assert found["r, percentiles"] < 0.6
    assert seconds > 0


def test_the_start_benchmark_writes_seconds_of_the_command(tmp_path: Path):
    words = [sys.executable, "benchmarks/start.py", "--only", "help", "--rounds", "1"]
    subprocess.run([*words, "--json", str(tmp_path / "start.json")], cwd=ROOT, check=True, capture_output=True)
    found = json.loads((tmp_path / "start.json").read_text(encoding="utf-8"))
    assert list(found) == ["help"]
    assert 0.05 < found["help"] < 60


@pytest.mark.parametrize("script", ["coverage", "refine_hh", "rules_to_rewards", "same", "start"])
def test_a_script_finds_its_neighbours_wherever_it_is_run(script: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    asked = [sys.executable, ROOT / "benchmarks" / f"{script}.py", "--help"]
    subprocess.run(asked, cwd=tmp_path, env=environment, check=True, capture_output=True)
