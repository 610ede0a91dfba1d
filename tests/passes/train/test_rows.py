"""The rows of a training: each once an epoch, held-out ones never, with targets that are what the labels say."""

from collections import Counter
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pytest

from encore_ray.composition.hashing.keys import is_heldout
from encore_ray.errors import DataError
from encore_ray.models.text.pair_prompt import pair_turns
from encore_ray.models.training.workers import Workers
from encore_ray.passes.train.counts import CountRows, RowCounts
from encore_ray.passes.train.plan import REWARD
from encore_ray.passes.train.rows import LAST_HASH, RowReader, TrainOrder, TrainRows
from encore_ray.rules import RuleSet
from tests.passes import trainable
from tests.passes.trainable import RULES, turns

NAN = np.nan


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return trainable.write_tables(tmp_path_factory.mktemp("rows"))


def counted(units, reader: RowReader) -> RowCounts:
    return reduce(add, map(CountRows(reader), units))


def in_order(units, reader: RowReader, *, workers: Workers | None = None, **changes) -> TrainRows:
    order = TrainOrder(
        batch_rows=4, num_rows=counted(units, reader).num_train, epochs=2, seed=1, last_evaluated=LAST_HASH
    )
    return TrainRows(units, reader, replace(order, **changes), workers or Workers())


@pytest.fixture(params=[4096, 8], ids=["one pool", "several pools"])
def pool_rows(request, monkeypatch):
    monkeypatch.setattr("encore_ray.passes.train.rows.POOL_ROWS", request.param)


@pytest.mark.usefixtures("pool_rows")
def test_an_epoch_has_every_row_once_but_held_out_ones(tables: dict[str, str]) -> None:
    units, reader = trainable.reader(tables, "regression", labels="scores")
    rows = in_order(units, reader)
    ids = [f"p{row}" for row in range(40) if row % 10 != 3]
    heldout = {name for name in ids if is_heldout([name.replace("p", "q")])[0]}
    trained = set(ids) - heldout
    assert 0 < len(heldout) < len(trained)
    batches = list(rows.steps(0))
    size = -(-len(trained) // 4)
    assert len(batches) == 2 * size
    epochs = [[name for batch in part for name in batch.pair_ids] for part in (batches[:size], batches[size:])]
    assert [Counter(epoch) for epoch in epochs] == [Counter(trained)] * 2
    assert epochs[0] != epochs[1]
    assert {len(batch.pair_ids) for batch in batches[: size - 1]} == {4}
    assert Counter(name for batch in rows.heldout() for name in batch.pair_ids) == Counter(heldout)
    again = [name for batch in in_order(units, reader).steps(0) for name in batch.pair_ids]
    assert again == epochs[0] + epochs[1]
    assert again != [name for batch in in_order(units, reader, seed=2).steps(0) for name in batch.pair_ids]


@pytest.mark.usefixtures("pool_rows")
def test_the_rows_from_a_step_on_are_the_tail_of_all(tables: dict[str, str]) -> None:
    units, reader = trainable.reader(tables, "bradley-terry", rules=REWARD)
    rows = in_order(units, reader)
    batches = [batch.pair_ids for batch in rows.steps(0)]
    for first in (1, 5, len(batches) // 2, len(batches) - 1, len(batches)):
        assert [batch.pair_ids for batch in rows.steps(first)] == batches[first:]


def test_the_shares_of_workers_make_up_each_step(tables: dict[str, str]) -> None:
    units, reader = trainable.reader(tables, "multihead-bradley-terry", labels="scores")
    alone = in_order(units, reader)
    shares = [in_order(units, reader, workers=Workers(rank, 3)) for rank in range(3)]
    for name in ("steps", "heldout"):
        parts = [list(share.steps(0) if name == "steps" else share.heldout()) for share in shares]
        whole = list(alone.steps(0) if name == "steps" else alone.heldout())
        for batch, *of_workers in zip(whole, *parts, strict=True):
            assert Counter(i for part in of_workers for i in part.pair_ids) == Counter(batch.pair_ids)
            assert {(part.num_targets, part.num_rows) for part in of_workers} == {
                (int((~np.isnan(batch.target_N2K)).sum()), len(batch.pair_ids))
            }


def test_however_few_rows_are_asked_for_one_prompt_is_evaluated(tables: dict[str, str]) -> None:
    units, reader = trainable.reader(tables, "regression", labels="scores")
    counts = counted(units, reader)
    assert counts.num_heldout == 2
    assert counts.least_heldout > LAST_HASH // 2  # so that half of the hashes have none of them

    def num_evaluated(num: int) -> int:
        rows = in_order(units, reader, last_evaluated=counts.last_evaluated(num))
        return sum(len(batch.pair_ids) for batch in rows.heldout())

    assert [num_evaluated(num) for num in (1, 2, 1024)] == [1, 2, 2]


@pytest.mark.parametrize(
    ("objective", "labels", "rules", "expected"),
    [
        # Rows 0 and 2 to 4: kind 0, 2, 3, 4 of 4 against 2 of 4; rude 1 against -1. Row 2 is alone, 3 has no label.
        (
            "regression",
            "scores",
            RULES,
            [
                [[0.0, 1.0], [0.5, 0.0]],
                [[0.5, 1.0], [NAN, NAN]],
                [[NAN, NAN], [NAN, NAN]],
                [[1.0, 1.0], [0.5, 0.0]],
            ],
        ),
        (
            "multihead-bradley-terry",
            "scores",
            RULES,
            [[[-1.0, 1.0], [NAN] * 2], [[NAN] * 2] * 2, [[NAN] * 2] * 2, [[1.0, 1.0], [NAN] * 2]],
        ),
        ("bradley-terry", None, REWARD, [[[1.0], [NAN]], [[NAN], [NAN]], [[1.0], [NAN]], [[1.0], [NAN]]]),
        ("bradley-terry", "selection", REWARD, [[[-1.0], [NAN]], [[NAN]] * 2, [[NAN]] * 2, [[1.0], [NAN]]]),
        (
            "multilabel",
            "selection",
            RULES,
            [[[1.0, 0.0], [NAN] * 2], [[NAN] * 2] * 2, [[1.0, 1.0], [NAN] * 2], [[1.0, 0.0], [NAN] * 2]],
        ),
    ],
)
def test_targets_are_what_the_labels_say(tables, objective, labels, rules: RuleSet, expected) -> None:
    units, reader = trainable.reader(tables, objective, labels=labels, rules=rules)
    rows = reader.read(units[0])
    np.testing.assert_array_equal(rows.target_N2K[[0, 2, 3, 4]], np.array(expected, dtype=np.float32))


def test_rows_that_are_taken_from_a_unit_say_what_they_said_there(tables: dict[str, str]) -> None:
    units, reader = trainable.reader(tables, "multihead-bradley-terry", labels="scores")
    unit = reader.read(units[1])
    index = [7, 0, 5]
    part = unit.take(np.array(index))
    assert part.table.num_rows == 3
    assert part.table.nbytes < unit.table.nbytes / 2
    np.testing.assert_array_equal(part.has_target_N, unit.has_target_N[index])
    np.testing.assert_array_equal(part.label_2NK, unit.label_2NK[:, index])
    there, here = (reader.batch([(rows, i) for i in of], range(3)) for rows, of in ((unit, index), (part, range(3))))
    assert (here.prompts, here.chosen, here.rejected) == (there.prompts, there.chosen, there.rejected)
    assert here.pair_ids == there.pair_ids == ["p17", "p10", "p15"]
    np.testing.assert_array_equal(here.target_N2K, there.target_N2K)


def test_ties_are_left_out_and_counted(tables: dict[str, str]) -> None:
    units, reader = trainable.reader(tables, "multihead-bradley-terry", labels="scores")
    counts = counted(units, reader)
    # kind ties where row modulo 5 is 2, but row modulo 10 = 2 is a single response: 7, 17, 27, 37.
    assert counts.num_ties_K.tolist() == [4, 0]
    assert counts.num_rows == 40
    assert counts.num_without == 8  # singles and unlabelled
    units, reader = trainable.reader(tables, "bradley-terry", labels="selection", rules=REWARD)
    counts = counted(units, reader)
    assert counts.num_ties_K.tolist() == [4]
    assert counts.num_without == 12  # those and the ties


def test_heads_begin_at_the_mean_target(tables: dict[str, str]) -> None:
    units, reader = trainable.reader(tables, "regression", labels="scores")
    trained = [row for row in range(40) if row % 10 != 3 and not is_heldout([f"q{row}"])[0]]
    kind = [row % 5 / 4 for row in trained] + [0.5 for row in trained if row % 10 != 2]
    found = counted(units, reader).first_biases("regression")
    assert found[0] == pytest.approx(np.mean(kind))
    units, reader = trainable.reader(tables, "multilabel", labels="selection")
    pairs = [row for row in range(40) if row % 10 != 2 and not is_heldout([f"q{row}"])[0]]
    share = (sum(row % 2 for row in pairs) + 0.5) / (len(pairs) + 1)
    assert counted(units, reader).first_biases("multilabel")[1] == pytest.approx(np.log(share / (1 - share)))


def test_an_adapter_learns_from_the_conversation_that_it_will_read(tables: dict[str, str]) -> None:
    units, reader = trainable.reader(tables, "multilabel", labels="selection")
    for batch in in_order(units, reader).steps(0):
        for name, prompt, chosen, rejected in zip(
            batch.pair_ids, batch.prompts, batch.chosen, batch.rejected, strict=True
        ):
            row = name[1:]
            texts = [
                turns("user", f"Question {row}?"),
                turns("assistant", f"Good {row}."),
                turns("assistant", f"Bad {row}."),
            ]
            assert [*prompt, *chosen] == pair_turns(*texts)
            assert rejected is None


def test_what_cannot_be_trained_on_is_refused(tables: dict[str, str], tmp_path: Path) -> None:
    units, reader = trainable.reader(tables, "regression", labels="scores")
    narrow = RuleSet([replace(RULES[0], scale=replace(RULES[0].scale, hi=3.0)), RULES[1]])
    with pytest.raises(DataError, match=r"kind: 8 of 68 outside 0 to 3"):
        counted(units, replace(reader, rules=narrow)).check(narrow, where="scores")
    few = trainable.write_tables(tmp_path, num_units=1, unit_pairs=2)
    units, reader = trainable.reader(few, "bradley-terry", rules=REWARD)
    with pytest.raises(DataError, match=r"Of 2 rows in pairs \d are there to train on and \d to judge by"):
        counted(units, reader).check(REWARD, where="pairs")
