"""A sample of `make fuzz`: no spoiled corpus is a traceback, a hang, or the end of a good row beside it."""

import random
from pathlib import Path

import pytest

from tests.fuzz import commands, laws
from tests.fuzz.__main__ import case_rng, read_case
from tests.fuzz.corpora import KINDS, LAYOUTS, MARK, lines_of, make_corpus
from tests.fuzz.laws import Broken, check_readers, good_outcome
from tests.fuzz.mutations import Case

NUM_READ, NUM_PREPARED = 200, 8


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_of_a_good_corpus_comes_out(kind: str, tmp_path: Path) -> None:
    seen = set()
    for number in range(30):
        folder = tmp_path / str(number)
        folder.mkdir()
        corpus = make_corpus(random.Random(number), kind=kind)
        seen.add(corpus.layout)
        assert good_outcome(corpus, folder).keys() == {row[MARK] for row in corpus.rows}
    assert len(seen) > len(LAYOUTS) / 2


def test_spoiled_corpora_are_read_or_refused_and_good_rows_stay() -> None:
    outcomes = [read_case(0, number) for number in range(NUM_READ)]
    assert sum(outcome.startswith("read") for outcome in outcomes) > NUM_READ / 2
    assert any(outcome.startswith("refused") for outcome in outcomes)


def test_spoiled_corpora_end_the_command_with_an_explained_code(tmp_path: Path) -> None:
    for number in range(NUM_PREPARED):
        folder = tmp_path / str(number)
        folder.mkdir()
        commands.check_command(case_rng(0, "command", number), folder)


def test_the_same_seed_spoils_in_the_same_way() -> None:
    assert [read_case(3, number) for number in range(5)] == [read_case(3, number) for number in range(5)]


def test_the_laws_notice_a_changed_a_lost_and_a_refused_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def case(rng: random.Random, folder: Path, *, huge: bool) -> Case:
        corpus = make_corpus(rng, kind="jsonl")
        path = folder / "corpus.jsonl"
        path.write_bytes(spoiled(lines_of(corpus.rows)))
        return Case(path, "a test", corpus, frozenset(row[MARK] for row in corpus.rows), False, len(corpus.rows))

    monkeypatch.setattr(laws, "spoil", case)
    for number, (said, how) in enumerate(
        {
            "12 rows in the file, 11 read": lambda lines: lines[1:],
            "the untouched row": lambda lines: [b"{}", *lines[1:]],
            "refused": lambda lines: [b"[]"] * 12,
        }.items()
    ):

        def spoiled(lines: list[bytes], how=how) -> bytes:
            return b"\n".join(how(lines))

        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises(Broken, match=said):
            check_readers(random.Random(0), folder)
