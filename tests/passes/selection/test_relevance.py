"""A rule adapter over a run: what it reads, what it writes, and the rules that are selected by it."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encore_ray.cli import main
from encore_ray.config import ScoreOptions
from encore_ray.engine.pools import Node, Resources
from encore_ray.errors import ConfigError, DataError, ModelError, ResumeRefused
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import PassTable, pass_tables
from encore_ray.folder.protocol.commits import LeftOut
from encore_ray.folder.reading.tables import table_units
from encore_ray.models.text.pair_prompt import pair_turns
from encore_ray.passes.scorers.model.forward import unit_by_model
from encore_ray.passes.selection.relevance import AdapterModel, RelevanceWriter, check_same_rules, plan_adapter
from encore_ray.passes.selection.select import SelectionMethod
from encore_ray.passes.selection.selected import find_selection, read_relevance
from encore_ray.rules import RuleSet, Scale
from encore_ray.schema import Reason, relevance_column, selected_column
from encore_ray.storage import Folder
from tests.models import tiny
from tests.passes import jobs
from tests.passes.selectable import RULES, SINGLE, UNIT_PAIRS, save_adapter, units, write_run

LAPTOP = Resources((Node(2, 0),))
NUM_PAIRS = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_adapter(tmp_path_factory.mktemp("adapter"))


@pytest.fixture(scope="module")
def planned(folder: Path) -> AdapterModel:
    return plan_adapter(str(folder), ScoreOptions(), resources=lambda known: LAPTOP)


def test_an_adapter_reads_the_prompt_then_both_responses_whichever_is_chosen(planned: AdapterModel) -> None:
    def say(role: str, *texts: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text} for text in texts]

    adapter = planned.load()
    prompts = [say("user", "Is it safe?"), say("user", "Why?")]
    answers = {
        "chosen": [say("assistant", "Yes!"), say("assistant", "So.")],
        "rejected": [say("assistant", "No."), None],
    }
    (pairs,) = adapter.prepare(prompts, **answers, pair_ids=["a", "b"]).pairs
    text = adapter.scorers[0].model.conversations.tokenizer.decode(pairs.chosen_ids[0])
    assert text == (
        "<s><|im_start|>user\n[Conversation]\nuser: Is it safe?\n\n[Reply A]\nassistant: No.\n\n"
        "[Reply B]\nassistant: Yes!\n\n"  # of the hash eee3, while that of No. is ee15
        "Which safety rules matter most for telling the two replies to this conversation apart?<|im_end|>\n"
    )
    assert pairs.rejected_ids == [None, None]
    swapped = {"chosen": [answers["rejected"][0], answers["chosen"][1]], "rejected": [answers["chosen"][0], None]}
    (turned,) = adapter.prepare(prompts, **swapped, pair_ids=["a", "b"]).pairs
    np.testing.assert_array_equal(turned.chosen_ids[0], pairs.chosen_ids[0])


def test_relevances_are_those_of_each_pair_alone(planned: AdapterModel, tmp_path: Path) -> None:
    (unit,) = table_units(jobs.write_unit(tmp_path / "pairs", num_pairs=NUM_PAIRS))
    place = Folder(str(tmp_path / "run"))
    attempt = Attempt(PassTable(place, place, "relevance").open({}), unit.unit, unit.digest)
    attempt.left_out = (LeftOut(1, Reason.HANGS, "hung"),)
    assert planned.facts["strategy"] == "tree"
    counts = unit_by_model(planned, RelevanceWriter(planned.rules))(unit, attempt)
    assert (counts["rows"], counts["scored"], counts["quarantined"]) == (NUM_PAIRS, NUM_PAIRS - 1, 1)
    table = place.read_table(attempt.data[0].file)
    assert table.column("pair_id").to_pylist() == ["p0", "p2", "p3", "p4", "p5"]
    model = tiny.load(Path(planned.path))
    for row, found in zip(
        unit.read_all().to_pylist()[:1] + unit.read_all().to_pylist()[2:], table.to_pylist(), strict=True
    ):
        relevance = [found[relevance_column(name)] for name in RULES.names]
        if row["rejected"] is None:
            assert relevance == [None] * len(RULES)
            continue
        turns = pair_turns(row["prompt"], row["chosen"], row["rejected"])
        (ids,) = model.conversations.encode([turns], ["pair"])
        np.testing.assert_allclose(relevance, tiny.score_one(model, ids), rtol=0, atol=1e-5)
    spread_K = np.ptp([[row[relevance_column(name)] for name in RULES.names] for row in table.to_pylist()[2:]], axis=0)
    assert spread_K.max() > 0.01  # a model that gives all pairs the same would prove nothing


def test_a_model_that_gives_no_probabilities_is_no_adapter(folder: Path, tmp_path: Path) -> None:
    mixed = RuleSet([RULES[0], *(replace(rule, link="sigmoid", scale=Scale(0.0, 1.0)) for rule in list(RULES)[1:])])
    other = save_adapter(tmp_path / "other", rules=mixed)
    with pytest.raises(
        ModelError, match=f"1 of its 10 rules have another link than sigmoid, first of all {RULES.names[0]}"
    ):
        plan_adapter(str(other), ScoreOptions(), resources=lambda known: LAPTOP)
    with pytest.raises(ConfigError, match="keep_embeddings"):
        plan_adapter(str(folder), ScoreOptions(keep_embeddings=True), resources=lambda known: LAPTOP)


def test_an_adapter_of_other_rules_than_the_scores_is_refused(planned: AdapterModel) -> None:
    check_same_rules(planned, RuleSet(reversed(list(RULES))))
    with pytest.raises(DataError, match=f"has 10, the scores have 9; only one of both has {RULES.names[0]}"):
        check_same_rules(planned, RuleSet(list(RULES)[1:]))


def encore_ray(*args: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(arg) for arg in args])
    return int(end.value.code or 0)


def test_what_select_would_refuse_is_refused_before_an_adapter_reads_a_pair(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", num_units=1)
    command = ("select", "--run", run.uri, "--adapter", folder, "--actors", 1, "--num-rules")

    def said() -> str:
        assert not run.exists("relevance")
        return " ".join(capsys.readouterr().err.split())

    assert encore_ray(*command, len(RULES) + 1) == ConfigError.exit_code
    assert "--num-rules 11: expected 1 to 10" in said()
    wider = RuleSet([replace(RULES[0], scale=Scale(0.0, 20.0)), *list(RULES)[1:]])
    run.write_atomic("rules.yaml", wider.to_yaml().encode())
    assert encore_ray(*command, 3) == DataError.exit_code
    assert "Rules have different ranges" in said()
    run.write_atomic("rules.yaml", RULES.to_yaml().encode())
    facts = SelectionMethod(4, "declared", "adapter").facts(RULES, by_relevance=True)
    pass_tables(run)["select"].open(facts)
    assert encore_ray(*command, 3) == ResumeRefused.exit_code
    assert "num_rules was 4, is 3" in said()
    shutil.rmtree(tmp_path / "run" / "scores")
    assert encore_ray(*command, len(RULES) + 1) == ConfigError.exit_code  # the adapter's own rules are as many
    assert "--num-rules 11: expected 1 to 10" in said()


def test_an_adapter_selects_just_so_many_rules_with_and_without_scores(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", num_units=2)
    command = ("select", "--run", run.uri, "--adapter", folder, "--actors", 1, "--max-tokens", 256)
    assert encore_ray(*command, "--num-rules", 4) == 0
    times = jobs.commit_times(tmp_path / "run", "relevance")
    relevance = units(run, "relevance")
    ids = [unit.read(["pair_id"]).column(0) for unit in relevance]
    related = [
        np.delete(read_relevance(*of_unit, RULES), SINGLE, axis=1) for of_unit in zip(relevance, ids, strict=True)
    ]
    expected_NR = np.argsort(-np.concatenate(related, axis=1).T, axis=1, kind="stable")[:, :3]
    for is_scored in (True, False):
        if not is_scored:
            shutil.rmtree(tmp_path / "run" / "scores")
        assert encore_ray(*command, "--num-rules", 3, "--overwrite") == 0
        table = jobs.table(tmp_path / "run" / "selection")
        mask_KN = np.array([table.column(selected_column(name)).to_pylist() for name in RULES.names])
        assert mask_KN.shape == (len(RULES), 2 * (UNIT_PAIRS - 1))
        rows = [set(np.flatnonzero(mask_K).tolist()) for mask_K in mask_KN.T]
        assert rows == [set(rules) for rules in expected_NR.tolist()]
        assert set(table.column("selection_label").to_pylist()) == ({1, -1, 0} if is_scored else {None})
        selection = find_selection(run)
        assert selection is not None
        assert (selection.facts["num_rules"], selection.facts["by"]) == (3, "adapter")
    assert jobs.commit_times(tmp_path / "run", "relevance") == times  # neither needs another relevance
    capsys.readouterr()
    assert encore_ray("status", run.uri) == 0
    told = capsys.readouterr().out
    assert "relevance" in told and "select" in told
    run = write_run(tmp_path / "run", num_units=2)
    assert encore_ray("select", "--run", run.uri, "--num-rules", 3) == ConfigError.exit_code
    assert 'by was "adapter", is "scores"' in " ".join(capsys.readouterr().err.split())
