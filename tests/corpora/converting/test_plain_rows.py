"""Rows that become pairs column by column are what they would be one by one, to the last byte."""

import io
import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encore_ray.corpora.converting.convert import ConvertSettings, SplitConverter
from encore_ray.corpora.converting.plain_rows import PlainRows
from encore_ray.corpora.files.columns import ColumnMap
from encore_ray.corpora.files.sources import InputSpec, list_files
from encore_ray.corpora.formats import LAYOUTS
from encore_ray.corpora.plan import CorpusPlan, plan
from encore_ray.corpora.rows import BadRow
from encore_ray.corpora.scan import ranges, scan
from encore_ray.errors import DataError
from encore_ray.schema import Reason
from tests.corpora.columnar.test_plain_texts import TEXTS
from tests.corpora.prepared import prepare
from tests.fuzz.__main__ import case_rng
from tests.fuzz.mutations import spoil

REPEATED = "Is the whole prompt said again? é "
PLAIN = {"prompt": "How?", "chosen": "So.", "rejected": "Not."}


def corpus_of(path: Path | InputSpec, **options: Any) -> CorpusPlan:
    spec = path if isinstance(path, InputSpec) else InputSpec(str(path))
    return plan([scan(part) for file in list_files([spec]) for part in ranges(file)], **options)


def made_of(corpus: CorpusPlan, settings: ConvertSettings, left_out: dict[int, BadRow], *, by_rows: bool) -> list[Any]:
    """The files that the units would be, and everything else that is told of a corpus."""
    with pytest.MonkeyPatch.context() as patch:
        if by_rows:
            patch.setattr(PlainRows, "may_be", False)
        found: list[Any] = []
        for split in corpus.splits:
            converter = SplitConverter(split, table=corpus.table, settings=settings, left_out=left_out)
            for unit in converter.units():
                unit.validate(full=True)
                buffer = io.BytesIO()
                pq.write_table(unit, buffer, compression="zstd", use_dictionary=False)
                found.append(buffer.getvalue())
            outcome = converter.outcome
            quarantine = outcome.quarantine.to_pylist()
            counts = (outcome.rows_in, outcome.rows_kept, outcome.rows_quarantined, outcome.pairs_out)
            found += [quarantine, counts, outcome.singles, outcome.identical, outcome.notes, outcome.reasons]
        return found


def check(corpus: CorpusPlan, settings: ConvertSettings, left_out: dict[int, BadRow] | None = None) -> None:
    assert made_of(corpus, settings, left_out or {}, by_rows=False) == made_of(
        corpus, settings, left_out or {}, by_rows=True
    )


RATINGS = st.sampled_from([0.0, -0.0, 1.5, 0.1, 1e39, float("nan"), float("inf"), 3.4028235e38, 1e-50, None, 7.0])
WHOLE = st.sampled_from([0, -3, 2**53 + 1, 16777217, 2**62 + 12345, None])
FURTHER = {
    "system": TEXTS | st.none(),
    "images": st.none() | st.just("[]") | st.just("") | st.just("a.png"),
    "instruction": st.sampled_from([None, "", "How?", "other"]),
    "subset": st.sampled_from([None, "", "a", "b"]) | TEXTS,
    "prompt_id": st.sampled_from([None, "", "one", "two"]),
    "id": st.sampled_from([None, "", "x"]) | TEXTS,
    "note": TEXTS | st.none(),
    "status": st.sampled_from([None, "tie", "unchanged"]),
    "margin": st.sampled_from([None, -1.5, 0.0, 2.0, float("nan")]),
    "score_chosen": st.sampled_from([None, 1.0, 2.0, float("nan")]),
    "score_rejected": st.sampled_from([None, 1.0, 2.0]),
    "overall": st.sampled_from([None, 1.0]),
    "nested": st.none() | st.lists(st.integers(0, 3), max_size=2),
}
TYPES = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Texts, most of them plain, with ratings, ids and further columns, in any encoding."""
    count = draw(st.integers(1, 24))

    def column(values: st.SearchStrategy[Any], type_: pa.DataType) -> pa.Array:
        return pa.array(draw(st.lists(values, min_size=count, max_size=count)), type_)

    texts = (
        st.sampled_from(
            ["How?", "So.", "Not so.", "# Title", "日本", "nan", REPEATED, f"{REPEATED} Yes.", f"{REPEATED[:20]} No."]
        )
        | TEXTS
        | st.none()
    )
    names = draw(st.sampled_from([("prompt", "chosen", "rejected"), ("instruction", "chosen", "rejected")]))
    columns: dict[str, pa.Array] = {}
    for name in names:
        made = column(texts, pa.string())
        type_ = draw(st.sampled_from(TYPES))
        columns[name] = made.dictionary_encode() if pa.types.is_dictionary(type_) else made.cast(type_)
    for rule in range(draw(st.integers(0, 2))):
        for side in ("chosen", "rejected"):
            type_ = draw(st.sampled_from([pa.float32(), pa.float64(), pa.int64(), pa.float16(), pa.uint8()]))
            values = RATINGS if pa.types.is_floating(type_) else WHOLE
            if type_ in (pa.float16(), pa.uint8()):
                values = st.sampled_from([1, 2, None])
            columns[f"{side}__{('overall', 'rule')[rule]}"] = column(values, type_)
    for name in draw(st.lists(st.sampled_from(list(FURTHER)), unique=True, max_size=4)):
        if name not in columns:
            is_number = name in ("margin", "score_chosen", "score_rejected", "overall")
            type_ = pa.list_(pa.int64()) if name == "nested" else pa.float64() if is_number else pa.string()
            columns[name] = column(FURTHER[name], type_)
    if "id" not in columns and draw(st.booleans()):
        columns["id"] = column(WHOLE, pa.int64())
    return pa.table(columns)


@settings(max_examples=40, deadline=None)
@given(table=tables(), data=st.data())
def test_columns_give_what_rows_give(tmp_path_factory: pytest.TempPathFactory, table: pa.Table, data: st.DataObject):
    path = tmp_path_factory.mktemp("rows") / "a.parquet"
    pq.write_table(table, path, row_group_size=data.draw(st.integers(1, 30)))
    ids = data.draw(st.sampled_from(["auto", "row"]))
    try:
        corpus = corpus_of(path, ids=ids)
    except DataError:
        return
    limits = ConvertSettings(
        unit_pairs=data.draw(st.sampled_from([1, 3, 1024])),
        unit_bytes=data.draw(st.sampled_from([60, 400, 64 << 20])),
        max_field_bytes=data.draw(st.sampled_from([4, 20, 1 << 20])),
        max_row_bytes=data.draw(st.sampled_from([40, 100, 16 << 20])),
        limit_rows=data.draw(st.none() | st.integers(1, 10)),
    )
    left_out = {row: BadRow(Reason.KILLS_WORKER, "said") for row in data.draw(st.sets(st.integers(0, 9), max_size=2))}
    check(corpus, limits, left_out)


@pytest.mark.parametrize("seed", range(4))
def test_spoiled_tables_give_what_their_rows_give(tmp_path: Path, seed: int):
    seen = 0
    for number in itertools.count():
        folder = tmp_path / str(number)
        folder.mkdir()
        rng = case_rng(seed, "columns", number)
        path = spoil(rng, folder).path
        if path.suffix != ".parquet":
            continue
        try:
            corpus = corpus_of(path)
        except DataError:
            continue
        check(corpus, ConvertSettings(unit_pairs=rng.choice([1, 5, 1024])))
        seen += 1
        if seen == 25:
            return


MAPPED = [
    {"prompt": "question", "chosen": "good", "rejected": "bad"},
    {"prompt": "question", "chosen": "good", "rejected": "bad", "subset": "kind", "id": "name"},
    {"prompt": "question", "response": "good"},
    {"prompt": "question", "chosen": "good", "rejected": "bad", "winner": "won"},
    {"prompt": "meta.question", "chosen": "good", "rejected": "bad", "system": "meta.said"},
]


@pytest.mark.parametrize("columns", MAPPED)
def test_mapped_columns_give_what_their_rows_give(tmp_path: Path, columns: dict[str, str]):
    rng = random.Random(0)
    texts = ["How?", "So.", "", None, "Human: Hi\nAssistant: ", '["a", "b"]', "null"]
    rows = [
        {name: rng.choice(texts) for name in ("question", "good", "bad", "kind", "name", "won")}
        | {"meta": {"question": rng.choice(texts), "said": rng.choice(texts)}}
        for _ in range(200)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    spec = InputSpec(str(tmp_path / "a.parquet"), columns=ColumnMap.of(columns))
    check(corpus_of(spec), ConvertSettings(unit_pairs=16))


def test_plain_rows_are_not_looked_at_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # 2,000 rows of which each hundredth is none: the others never come to a reading.
    rows = [{**PLAIN, "prompt": "nan" if row % 100 == 7 else f"What is {row}?", "id": row} for row in range(2000)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    looked_at = []
    before = SplitConverter._records
    monkeypatch.setattr(SplitConverter, "_records", lambda self, rows: looked_at.append(rows) or before(self, rows))
    done = prepare(tmp_path / "a.parquet")
    assert [pair["pair_id"] for pair in done.pairs] == [str(row) for row in range(2000)]
    assert len(looked_at) == 20


def test_a_layout_with_plain_columns_makes_one_pair_of_a_row_alone():
    plain = [layout for layout in LAYOUTS if layout.plain]
    assert len(plain) >= 9
    for layout in plain:
        assert layout.plain and set(layout.plain) <= layout.uses and len(layout.plain) == (2 if layout.is_single else 3)
        assert not layout.is_grouped and not layout.rules and layout.joined_by is None and layout.check is None
        assert np.all([name in layout.shapes for name in layout.plain])
