"""Transcripts that are read some hundred at a time come to what each comes to by itself, to the last byte."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encore_ray.corpora.converting.convert import ConvertSettings, SplitConverter
from encore_ray.corpora.converting.plain_transcripts import PlainTranscripts
from encore_ray.corpora.files.sources import InputSpec, list_files
from encore_ray.corpora.plan import CorpusPlan, plan
from encore_ray.corpora.rows import BadRow
from encore_ray.corpora.scan import ranges, scan
from encore_ray.schema import Reason
from tests.corpora.prepared import prepare, write_jsonl

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
PIECES = [
    HUMAN,
    ASSISTANT,
    f"{HUMAN} Hi.",
    f"{ASSISTANT} Yes?",
    " So.",
    "  two spaces",
    "\n",
    " ",
    "",
    " nan",
    " é 日本",
]
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=2), max_size=5).map("".join)


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    """Two sides that begin alike, more or less."""
    head = draw(st.just("") | TEXTS | st.just(f"{HUMAN} Hi.{ASSISTANT} Yes?{HUMAN} So?"))
    return {side: f"{HUMAN} How? It is a long one.{head}{ASSISTANT}{draw(TEXTS)}" for side in ("chosen", "rejected")}


ODD = st.sampled_from([{"chosen": None, "rejected": "x"}, {"chosen": [], "rejected": ""}, {"rejected": HUMAN}, {}, []])


def made_of(corpus: CorpusPlan, limits: ConvertSettings, left_out: dict[int, BadRow], *, one_by_one: bool) -> list[Any]:
    with pytest.MonkeyPatch.context() as patch:
        if one_by_one:
            patch.setattr(PlainTranscripts, "may_be", False)
        converter = SplitConverter(corpus.splits[0], table=corpus.table, settings=limits, left_out=left_out)
        found: list[Any] = []
        for unit in converter.units():
            unit.validate(full=True)
            buffer = io.BytesIO()
            pq.write_table(unit, buffer, compression="zstd", use_dictionary=False)
            found.append(buffer.getvalue())
        done = converter.outcome
        return [
            *found,
            done.quarantine.to_pylist(),
            done.rows_in,
            done.pairs_out,
            done.identical,
            done.notes,
            done.reasons,
        ]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_some_at_a_time_give_what_one_by_one_give(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    usual = [{side: f"{HUMAN} Hi.{ASSISTANT} {side}" for side in ("chosen", "rejected")}] * 12
    drawn = data.draw(st.lists(rows() | ODD | st.just(usual[0]), max_size=10))
    path = write_jsonl(tmp_path_factory.mktemp("rows") / "a.jsonl", data.draw(st.permutations([*usual, *drawn])))
    corpus = plan([scan(part) for file in list_files([InputSpec(str(path))]) for part in ranges(file)])
    limits = ConvertSettings(
        unit_pairs=data.draw(st.sampled_from([1, 3, 1024])),
        unit_bytes=data.draw(st.sampled_from([60, 400, 64 << 20])),
        max_field_bytes=data.draw(st.sampled_from([70, 1 << 20])),
        limit_rows=data.draw(st.none() | st.integers(1, 10)),
    )
    left_out = {row: BadRow(Reason.KILLS_WORKER, "said") for row in data.draw(st.sets(st.integers(0, 9), max_size=2))}
    found = [made_of(corpus, limits, left_out, one_by_one=one_by_one) for one_by_one in (False, True)]
    assert found[0] == found[1]


def test_usual_transcripts_are_not_looked_at_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # 300 rows of which each hundredth says nothing: the others never come to a reading.
    lines = [
        {s: f"{HUMAN} Is it {n}?{ASSISTANT} {'' if n % 100 == 7 else s}" for s in ("chosen", "rejected")}
        for n in range(300)
    ]
    looked_at = []
    before = SplitConverter._records
    monkeypatch.setattr(SplitConverter, "_records", lambda self, rows: looked_at.append(rows) or before(self, rows))
    done = prepare(write_jsonl(tmp_path / "a.jsonl", lines))
    assert len(done.pairs) == 297 and done.reasons == {"empty_field": 3} and len(looked_at) == 3


@pytest.mark.parametrize("further", [{"id": "a"}, {"note": "kept"}, {"system": "Be kind."}, {"subset": "s"}])
def test_whatever_else_a_row_has_is_read_one_by_one(tmp_path: Path, further: dict[str, Any]):
    lines = [{s: f"{HUMAN} Is it {n}?{ASSISTANT} {s}" for s in ("chosen", "rejected")} for n in range(3)]
    lines = [{**line, **{name: f"{value}{n}" for name, value in further.items()}} for n, line in enumerate(lines)]
    pairs = prepare(write_jsonl(tmp_path / "a.jsonl", lines)).pairs
    (value,) = further.values()
    assert all(f"{value}{n}" in json.dumps(pair) for n, pair in enumerate(pairs)) and len(pairs) == 3
