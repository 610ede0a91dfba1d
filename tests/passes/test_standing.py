"""A finished job run again: what stands is not done, what changed is, with what reads it, and nothing else."""

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from encore_ray.cli.parsing import parse
from encore_ray.config import JobConfig, TrackingOptions
from encore_ray.config.sources import make_config, options_of_run, section_defaults
from encore_ray.console.terminal import Terminal
from encore_ray.errors import ConfigError, DataError, ResumeRefused
from encore_ray.folder.status import run_status
from encore_ray.job import JobResult, run_job
from encore_ray.rules import Rule, RuleSet, Scale
from encore_ray.schema import FACTS_DIR, LOG_FILE, TRACKING_DIR
from encore_ray.storage import Folder
from tests.passes import jobs

RULES = RuleSet(Rule(name, f"Is {name}.", "better", Scale(0.0, 1.0)) for name in ("kind", "brief", "true"))
ALL = ("prepare", "score", "weigh", "compose", "evaluate", "compare", "report")
OF_WEIGHTS = ("weigh", "compose", "evaluate", "compare", "report")


def config(folder: Path, **values: Any) -> JobConfig:
    return jobs.config(folder, **{"model": None, "rules": str(folder / "rules.yaml"), **values})


def write_corpus(path: Path, *, num_pairs: int = 60, first: int = 0) -> None:
    rows = [
        {
            "prompt": f"Question {i}?",
            "chosen": "Yes, that is so.",
            "rejected": "No." * (i % 4 + 1),
            **{f"chosen__{name}": (i * (k + 3) % 11) / 10 for k, name in enumerate(RULES.names)},
            **{f"rejected__{name}": (i * (k + 5) % 7) / 10 for k, name in enumerate(RULES.names)},
        }
        for i in range(first, first + num_pairs)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job that has ended, to be copied."""
    folder = tmp_path_factory.mktemp("finished")
    write_corpus(folder / "corpus.jsonl")
    (folder / "rules.yaml").write_text(RULES.to_yaml())
    assert tuple(run_job(config(folder)).done) == ALL
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """The job in a folder of its own; its input is the one that was read.

    Tables that were copied are compared with their digests; the report tells where they lie by now.
    """
    shutil.copytree(finished / "run", tmp_path / "run")
    shutil.copy(finished / "rules.yaml", tmp_path)
    assert list(again(tmp_path, finished).done) == ["report"]
    return tmp_path


def again(folder: Path, finished: Path, *, overwrite: bool = False, **values: Any) -> JobResult:
    defaults = {"inputs": [str(finished / "corpus.jsonl")], "run": str(folder / "run")}
    return run_job(config(folder, **{**defaults, **values}), overwrite=overwrite)


def contents(folder: Path) -> dict[str, str]:
    """Of all but the log, which tells of refusals too."""
    files = (path for path in (folder / "run").rglob("*") if path.is_file() and path.name != LOG_FILE)
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if "lock" not in path.name}


def in_order(names: Iterable[str]) -> list[str]:
    return sorted(names, key=ALL.index)


def test_a_finished_job_run_again_does_nothing_and_gives_the_same_result(finished: Path, tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus.jsonl")
    (tmp_path / "rules.yaml").write_text(RULES.to_yaml())
    first = run_job(config(tmp_path))
    before = contents(tmp_path)
    second = run_job(config(tmp_path))
    assert list(first.done) == list(ALL) and not second.done
    assert contents(tmp_path) == before
    for name in ("corpus_rows", "prepared", "scored", "weights", "left_out"):
        assert getattr(second, name) == getattr(first, name), name
    assert second.metrics.content == first.metrics.content
    assert first.comparison and second.comparison and second.comparison.content == first.comparison.content


@pytest.mark.parametrize(
    ("values", "passes"),
    [
        ({"weigh": {"temperature": 0.5}}, OF_WEIGHTS),
        ({"weigh": {"clip": True}}, OF_WEIGHTS),
        ({"weigh": {"seed": 3}}, ("compare", "report")),  # which weighs at random, too
        ({"weigh": {"scheme": "uniform"}}, (*OF_WEIGHTS[:3], "report")),  # compare has all schemes
        ({"cost_per_hour": 2.0}, ("report",)),  # which shows the configuration
        ({"prepare": {"unit_pairs": 16}}, ALL),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_a_changed_option_redoes_what_reads_it_and_what_reads_that(
    folder: Path, finished: Path, values: dict[str, Any], passes: tuple[str, ...]
) -> None:
    refused = passes != ("report",)
    if refused:
        before = contents(folder)
        with pytest.raises(ResumeRefused, match="overwrite=True"):
            again(folder, finished, **values)
        assert contents(folder) == before
    assert in_order(again(folder, finished, overwrite=refused, **values).done) == in_order(passes)
    assert not again(folder, finished, **values).done


@pytest.mark.parametrize(
    ("file", "passes"),
    [
        ("pairs/_SUCCESS", {"prepare"}),
        ("scores/_SUCCESS", {"score"}),
        ("rules.yaml", {"score"}),
        ("weights.json", {"weigh"}),
        ("rewards/_SUCCESS", {"compose"}),
        ("rewards/weights.json", {"compose"}),
        ("metrics.json", {"evaluate"}),
        ("report/evaluation.png", {"evaluate"}),
        ("comparison.json", {"compare"}),
        ("report/report.html", {"report"}),
        ("report/tables/rules.parquet", {"report"}),
    ],
)
@pytest.mark.parametrize("deleted", [True, False], ids=["deleted", "changed"])
def test_a_file_that_is_not_as_it_was_made_is_made_again(
    folder: Path, finished: Path, file: str, passes: set[str], deleted: bool
) -> None:
    path = folder / "run" / file
    before = path.read_bytes()
    if deleted:
        path.unlink()
    elif file == "weights.json":
        pytest.skip("weights that were changed by hand are refused, for they are somebody's")
    else:
        path.write_bytes(before[:-20])
    assert set(again(folder, finished).done) >= passes
    assert path.read_bytes() == before
    assert not again(folder, finished).done


@pytest.mark.parametrize(("table", "passes"), [("pairs", "prepare"), ("scores", "score"), ("rewards", "compose")])
def test_a_table_with_a_file_that_was_written_since_does_not_stand(
    folder: Path, finished: Path, table: str, passes: str
) -> None:
    file = next((folder / "run" / table / "data").iterdir())
    content = file.read_bytes()
    file.write_bytes(content[:-9] + b"x" + content[-8:])
    with pytest.raises(DataError, match="is not what its commit says"):  # who reads it finds the damage
        again(folder, finished)
    file.unlink()
    assert passes in again(folder, finished).done
    assert file.parent.exists() and not again(folder, finished).done


def test_a_run_of_a_version_that_kept_no_facts_does_once_more_what_it_made(folder: Path, finished: Path) -> None:
    shutil.rmtree(folder / "run" / FACTS_DIR)
    before = contents(folder)
    assert in_order(again(folder, finished).done) == list(ALL)
    after = contents(folder)
    assert {name for name in before if after[name] != before[name]} <= {
        str(folder / "run" / table / "work.json") for table in ("pairs", "scores", "rewards")
    }
    assert not again(folder, finished).done


def test_results_of_another_code_are_made_again_unasked(folder: Path, finished: Path) -> None:
    for path in (folder / "run" / FACTS_DIR).iterdir():
        content = json.loads(path.read_text())
        if "code" in content["facts"]:
            content["facts"]["code"] = "0" * 64
            path.write_text(json.dumps(content))
    assert in_order(again(folder, finished).done) == [name for name in ALL if name != "compose"]


def test_an_added_input_is_prepared_and_all_that_follows_is_made_anew(folder: Path, finished: Path) -> None:
    write_corpus(folder / "more.jsonl", num_pairs=10, first=60)
    more = again(folder, finished, inputs=[str(finished / "corpus.jsonl"), str(folder / "more.jsonl")])
    assert in_order(more.done) == list(ALL)
    assert more.weights.num_pairs == 70


def command(*words: object) -> None:
    parse([str(word) for word in words]).main(Terminal(quiet=True))


def stored(folder: Path, name: str) -> Any:
    return json.loads((folder / "run" / name).read_text())


def test_single_passes_go_by_the_options_of_their_run(folder: Path, finished: Path) -> None:
    again(folder, finished, weigh={"temperature": 0.5, "seed": 4}, overwrite=True)
    before = contents(folder)
    for name in ("weigh", "compose", "evaluate", "compare"):
        command(name, "--run", folder / "run")
    assert {file: digest for file, digest in contents(folder).items() if "/tracking/" not in file} == before
    command("weigh", "--run", folder / "run", "--temperature", 3, "--overwrite")
    for name in ("compose", "evaluate", "compare"):  # by what the run's weights are made by now
        command(name, "--run", folder / "run")
    assert (stored(folder, "weights.json")["temperature"], stored(folder, "comparison.json")["temperature"]) == (3, 3)
    command("compare", "--run", folder / "run", "--seed", 9, "--overwrite")
    command("weigh", "--run", folder / "run")
    (drawn,) = [line for line in stored(folder, "comparison.json")["schemes"] if line["name"] == "random"]
    assert drawn["params"]["seed"] == 9


def test_weights_that_are_replaced_undo_what_was_made_of_others_and_say_so_once(folder: Path, finished: Path) -> None:
    """Who replaced them has been asked: the passes that follow from them do not ask again."""
    run = folder / "run"
    with pytest.raises(ResumeRefused, match=r"temperature was 2\.0, is 3"):
        command("weigh", "--run", run, "--temperature", 3)
    command("weigh", "--run", run, "--temperature", 3, "--overwrite")
    assert "weigh: compose, evaluate, compare and report were of other weights, and are undone" in (
        (run / LOG_FILE).read_text()
    )
    states = {status.name: status.state for status in run_status(Folder(str(run)))}
    assert {name for name, state in states.items() if state == "finished"} == {"prepare", "score", "weigh"}
    assert set(states.values()) == {"finished", "not started"}
    for name in ("compose", "evaluate", "compare"):
        command(name, "--run", run)
    other = folder / "other"
    again(folder, finished, run=str(other), weigh={"temperature": 3})
    for name in ("weights.json", "rewards", "metrics.json"):
        assert jobs.contents(run)[name] == jobs.contents(other)[name]
    command("weigh", "--run", run)
    assert (run / LOG_FILE).read_text().count("and are undone") == 1


def test_a_rule_that_is_told_in_other_words_refuses_no_rewards(folder: Path) -> None:
    rules = folder / "run" / "rules.yaml"
    rules.write_text(rules.read_text().replace("Is kind.", "It is kind."))
    for name in ("weigh", "compose"):
        command(name, "--run", folder / "run")


def test_a_run_that_is_not_tracked_is_not_by_single_passes_either(
    folder: Path, finished: Path, tracked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = folder / "run"
    assert options_of_run(TrackingOptions, Folder(str(run)))["enabled"] is False
    for name in ("weigh", "compose", "evaluate", "compare"):
        command(name, "--run", run, *(["--temperature", 3, "--overwrite"] if name == "weigh" else []))
    assert not (run / TRACKING_DIR).exists() and not (folder / "mlflow.db").exists()
    monkeypatch.setenv("ENCORE_RAY_TRACKING_EXPERIMENT", "mine")  # the environment is put over the run's own
    own = options_of_run(TrackingOptions, Folder(str(run)))
    assert section_defaults(TrackingOptions, run=own) == TrackingOptions(enabled=False, experiment="mine")


def test_options_of_a_scheme_are_left_with_it(folder: Path) -> None:
    command("weigh", "--run", folder / "run", "--scheme", "single", "--rule", "kind", "--overwrite")
    command("weigh", "--run", folder / "run")
    assert stored(folder, "weights.json")["params"]["rule"] == "kind"
    command("compare", "--run", folder / "run")
    command("weigh", "--run", folder / "run", "--scheme", "uniform", "--overwrite")
    assert stored(folder, "weights.json")["scheme"] == "uniform"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--temperature", 1], r"temperature was 2\.0, is 1\.0"),
        (["--num-bins", 5], r"bins was .*20.*, is .*5"),
        (["--estimator", "miller_madow"], "estimator was .*plugin.*, is .*miller_madow"),
        (["--min-active", 0.2], r"min_active was null, is 0\.2"),
    ],
)
@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]], ids=["", "overwrite"])
def test_a_comparison_by_other_options_than_the_runs_weights_is_refused(
    folder: Path, flags: list[Any], said: str, overwrite: list[str]
) -> None:
    before = contents(folder)
    with pytest.raises(ConfigError, match=rf"weights\.json is of other options than this comparison would be: {said}"):
        command("compare", "--run", folder / "run", *flags, *overwrite)
    assert contents(folder) == before


def test_rewards_by_other_weights_than_the_runs_own_are_refused(folder: Path) -> None:
    scores, other = folder / "run" / "scores", folder / "other.json"
    command("weigh", "--scores", scores, "--rules", folder / "rules.yaml", "--scheme", "uniform", "--output", other)
    with pytest.raises(ConfigError, match=r"a run has rewards by its own weights alone\. Leave out --weights"):
        command("compose", "--run", folder / "run", "--weights", other, "--overwrite")
    command("compose", "--run", folder / "run", "--weights", folder / "run" / "weights.json")


def test_rewards_beside_stay_in_a_comparison_until_others_are_named(folder: Path, finished: Path) -> None:
    shutil.copytree(folder / "run" / "rewards", folder / "other")
    command("compare", "--run", folder / "run", "--beside", f"mine={folder / 'other'}")
    assert [line["name"] for line in stored(folder, "comparison.json")["beside"]] == ["mine"]
    again(folder, finished)
    assert not again(folder, finished).done
    assert [line["name"] for line in stored(folder, "comparison.json")["beside"]] == ["mine"]


def test_a_trial_by_other_options_is_refused_until_it_may_be_overwritten(finished: Path, tmp_path: Path) -> None:
    from encore_ray.cli.commands.jobs.trial import run_trial

    job = config(tmp_path, inputs=[str(finished / "corpus.jsonl")], rules=str(finished / "rules.yaml"))
    quiet = Terminal(quiet=True)
    assert run_trial(job, limit=20, overwrite=False, console=quiet)[1].trial_pairs == 20
    other = make_config({**job.model_dump(), "weigh": {"temperature": 0.5}})
    with pytest.raises(ResumeRefused, match=r"temperature was 2\.0, is 0\.5"):
        run_trial(other, limit=20, overwrite=False, console=quiet)
    run_trial(other, limit=20, overwrite=True, console=quiet)
    weights = json.loads((tmp_path / "run-trial-20" / "weights.json").read_text())
    assert weights["temperature"] == 0.5
