"""What enters the heads, kept beside the scores or made later: the same, aligned by pair, never half."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from encore_ray.config import ScoreOptions
from encore_ray.engine.pools import Node, Resources
from encore_ray.engine.work.unit_work import CommittedWork, Probe, Task
from encore_ray.errors import DataError, ModelError
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.protocol.commits import LeftOut
from encore_ray.folder.reading.tables import TableUnit, table_units
from encore_ray.job import run_job
from encore_ray.models.loading.checkpoint import load_model
from encore_ray.passes.scorers.embedding_table import EmbeddingWriter, WithEmbeddings, read_embeddings
from encore_ray.passes.scorers.model.forward import ModelForward, score_writer, unit_by_model
from encore_ray.passes.scorers.model.plan import plan_model
from encore_ray.passes.scorers.model.planned import ScoringModel
from encore_ray.passes.scorers.outputs import UnitOutputs
from encore_ray.passes.scorers.score_table import ScoreWriter
from encore_ray.passes.scorers.score_unit import ScoreUnit
from encore_ray.schema import Reason
from encore_ray.storage import Folder
from tests.models import tiny
from tests.passes import jobs

NUM_PAIRS = 6


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> TableUnit:
    """One unit; the third pair is a single response."""
    return table_units(jobs.write_unit(tmp_path_factory.mktemp("pairs"), num_pairs=NUM_PAIRS))[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ScoringModel:
    folder = jobs.save_model(tmp_path_factory.mktemp("model"))
    return plan_model(str(folder), ScoreOptions(keep_embeddings=True), resources=lambda known: Resources((Node(2, 0),)))


def tables(run: Path) -> tuple[PassTable, PassTable]:
    folder = Folder(str(run))
    score, embed = (PassTable(folder.child(name), folder, name).open({}) for name in ("score", "embed"))
    return score, embed


def committed(table: PassTable, unit: TableUnit) -> TableUnit:
    commit = table.commit(unit.unit, unit.digest)
    assert commit is not None
    (file,) = commit.data
    return TableUnit(unit.unit, table.folder, file.file, file.rows, file.digest)


def task(unit: TableUnit) -> Task:
    return Task(unit.unit, unit.digest, unit.rows, unit, unit.folder.path(unit.file))


def test_the_heads_make_the_scores_from_the_embedding(model: ScoringModel, pairs: TableUnit, tmp_path: Path) -> None:
    score, embed = tables(tmp_path)
    CommittedWork(score, lambda: unit_by_model(model, score_writer(model, embed)))(task(pairs))
    scores = committed(score, pairs).read_all()
    found = read_embeddings(committed(embed, pairs), scores.column("pair_id"))
    heads = load_model(model.path, device="cpu").heads.outputs  # type: ignore[union-attr]
    weight_OD, bias_O = heads.weight.detach().numpy(), heads.bias.detach().numpy()  # type: ignore[union-attr]
    assert found.dtype == np.float16
    assert found.shape == (NUM_PAIRS, 2, weight_OD.shape[1])
    assert np.isnan(found[2, 1]).all()
    assert np.isfinite(np.delete(found, 2, axis=0)).all()
    for k, rule in enumerate(model.rules.names):
        expected_N = scores.column(f"chosen__{rule}").to_numpy()
        # float16 keeps 11 bits: an error of 2^-11 in each of D terms, at most
        bound_N = 2**-10 * np.abs(found[:, 0].astype(np.float64) * weight_OD[k]).sum(axis=1) + 1e-6
        assert (np.abs(found[:, 0].astype(np.float64) @ weight_OD[k] + bias_O[k] - expected_N) <= bound_N).all()


def test_scores_are_the_same_with_and_without_embeddings(model: ScoringModel, pairs: TableUnit, tmp_path: Path) -> None:
    plain = replace(model, options=ScoreOptions())
    score, embed = tables(tmp_path / "kept")
    other, _ = tables(tmp_path / "plain")
    CommittedWork(score, lambda: unit_by_model(model, score_writer(model, embed)))(task(pairs))
    CommittedWork(other, lambda: unit_by_model(plain, ScoreWriter(plain.rules)))(task(pairs))
    assert committed(score, pairs).digest == committed(other, pairs).digest


def test_embeddings_made_later_are_those_made_beside_the_scores(
    model: ScoringModel, pairs: TableUnit, tmp_path: Path
) -> None:
    score, embed = tables(tmp_path / "beside")
    _, later = tables(tmp_path / "later")
    forward, writer = ModelForward(model), EmbeddingWriter()
    work = ScoreUnit(forward, WithEmbeddings(ScoreWriter(model.rules), embed))
    CommittedWork(score, lambda: work)(task(pairs))
    CommittedWork(later, lambda: lambda unit, attempt: writer(forward(unit, attempt.left_out), attempt))(task(pairs))
    assert committed(embed, pairs).digest == committed(later, pairs).digest
    record = embed.commit(pairs.unit, pairs.digest)
    CommittedWork(tables(tmp_path / "again")[0], lambda: work)(task(pairs))  # another attempt at the scores
    assert embed.commit(pairs.unit, pairs.digest) == record


def test_a_trial_leaves_nothing_and_a_pair_left_out_has_no_embedding(
    model: ScoringModel, pairs: TableUnit, tmp_path: Path
) -> None:
    score, embed = tables(tmp_path)
    work = unit_by_model(model, score_writer(model, embed))
    CommittedWork(score, lambda: work)(Probe(task(pairs), range(2)))
    assert embed.commits() == {}
    attempt = Attempt(score, pairs.unit, pairs.digest, (LeftOut(1, Reason.HANGS, "hung"),))
    work(pairs, attempt)
    made = committed(embed, pairs)
    assert made.read(["pair_id"]).column(0).to_pylist() == ["p0", "p2", "p3", "p4", "p5"]
    in_another_order = read_embeddings(made, pa.chunked_array([["p5", "p0"]]))
    np.testing.assert_array_equal(in_another_order, read_embeddings(made, pa.chunked_array([["p0", "p5"]]))[::-1])
    assert np.isnan(read_embeddings(made, pa.chunked_array([["p0", "p1"]]))).all(axis=(1, 2)).tolist() == [False, True]
    with pytest.raises(DataError, match="holds no embeddings"):
        read_embeddings(pairs, pa.chunked_array([["p0"]]))


def test_a_pair_with_a_number_beyond_float16_goes_to_quarantine(pairs: TableUnit, tmp_path: Path) -> None:
    _, embed = tables(tmp_path)
    embeddings_N2D = np.ones((NUM_PAIRS, 2, 3), dtype=np.float32)
    embeddings_N2D[0, 0, 1], embeddings_N2D[1, 1, 2], embeddings_N2D[2, 1] = 65504.0, -65520.0, np.nan
    attempt = Attempt(embed, pairs.unit, pairs.digest)
    outputs = UnitOutputs(pairs, pairs.read_all(), (), np.empty((NUM_PAIRS, 2, 0)), {}, embeddings_N2D)
    counts = EmbeddingWriter()(outputs, attempt)
    attempt.commit(counts)
    assert (counts["rows"], counts["scored"], counts["quarantined"]) == (NUM_PAIRS, NUM_PAIRS - 1, 1)
    found = read_embeddings(committed(embed, pairs), pa.chunked_array([[f"p{n}" for n in range(NUM_PAIRS)]]))
    assert np.isnan(found).all(axis=2).tolist() == [[n == 1, n in (1, 2)] for n in range(NUM_PAIRS)]  # p2 is single
    assert found[0, 0].tolist() == [1.0, 65504.0, 1.0]
    assert attempt.quarantined is not None
    (row,) = embed.quarantine_folder.read_table(attempt.quarantined.file).to_pylist()
    assert (row["pair_id"], row["reason"]) == ("p1", "non_finite_score")
    assert "not a finite float16" in row["detail"]


def test_a_classification_module_has_no_one_embedding(tmp_path: Path) -> None:
    folder = tiny.save_classifier(tmp_path, "bert")
    options = ScoreOptions(keep_embeddings=True)
    planned = plan_model(str(folder), options, resources=lambda known: Resources((Node(2, 0),)))
    with pytest.raises(ModelError, match="no one embedding that enters them"):
        ModelForward(planned)


def test_embeddings_are_added_to_a_run_without_scoring_it_anew(tmp_path: Path) -> None:
    jobs.write_corpus(tmp_path / "corpus.jsonl", num_pairs=40)
    jobs.save_model(tmp_path / "model")
    run_job(jobs.config(tmp_path))
    run, before = tmp_path / "run", jobs.contents(tmp_path / "run")
    times = jobs.commit_times(run, "scores")
    assert not (run / "embeddings").exists()
    run_job(jobs.config(tmp_path, score={"keep_embeddings": True}))
    assert jobs.contents(run) == before
    assert jobs.commit_times(run, "scores") == times
    embeddings, scores = jobs.table(run / "embeddings"), jobs.table(run / "scores")
    assert embeddings.column("pair_id").equals(scores.column("pair_id"))
    assert len(jobs.commit_times(run, "embeddings")) == len(times)
