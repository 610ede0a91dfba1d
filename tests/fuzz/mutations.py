"""Spoils good corpora: some rows by value or by byte, or a whole file; and says which rows nobody touched.

`spoil` is a pure function of its random generator, so that seed and number of a case are enough to see it again.
"""

import datetime
import decimal
import gzip
import io
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.corpora.prepared import assistant, user, write_as
from tests.fuzz.corpora import KINDS, LINE_KINDS, MARK, NUM_ROWS, Corpus, Row, lines_of, make_corpus

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Case:
    """A spoiled corpus on disk.

    Attributes:
        what: how it was spoiled, for people.
        corpus: as it was.
        untouched: marks of the rows that must come out as if nothing had happened; None where the damage may be
            anywhere in the file.
        may_be_refused: whether the file as a whole may be an error.
        num_rows: source rows that the file has now; None where that cannot be known.
    """

    path: Path
    what: str
    corpus: Corpus
    untouched: frozenset[str] | None
    may_be_refused: bool
    num_rows: int | None


def spoil(rng: random.Random, folder: Path, *, huge: bool = False) -> Case:
    """Write a good corpus with something wrong in it.

    Args:
        folder: an empty one.
        huge: make one row of about 100 MB.
    """
    kind = "jsonl" if huge else rng.choice(["jsonl", "jsonl", *KINDS])
    corpus = make_corpus(rng, kind=kind)
    if huge:
        return _spoil_lines(rng, folder, corpus, huge=True)
    how = rng.random()
    if how < 0.15:
        return _spoil_file(rng, folder, corpus)
    if kind == "parquet":
        return _spoil_table(rng, folder, corpus)
    if kind in LINE_KINDS and how < 0.6:
        return _spoil_lines(rng, folder, corpus)
    return _spoil_values(rng, folder, corpus)


# Values, as any JSON writer could write them


def _strange_value(rng: random.Random) -> Any:
    return rng.choice(
        [
            None,
            True,
            -1,
            3,
            2**53 + 1,
            2**63,
            -(2**70),
            1.5,
            1e308,
            float("nan"),
            float("inf"),
            -float("inf"),
            "",
            " \t\n ",
            "\x00",
            "\u200b\u202e\ufeff",
            "\n\nHuman: hello",
            "\n\nHuman: hello\n\nAssistant:",
            "x" * rng.choice([10, 70_000]),
            "3",
            "NaN",
            "null",
            [],
            [[]],
            [None],
            [1, "two", None],
            ["a text"],
            {},
            {"role": "user"},
            {"": {"": [{}]}},
            [{}],
            [{"role": "user", "content": "only"}],
            [{"role": "assistant", "content": None}],
            [{"role": "user", "content": ["parts"]}, {"role": "assistant", "content": "x"}],
            [{"role": "tool", "content": "x"}, assistant("x")],
            [user("x"), {"role": "assistant", "content": "x", "name": "y"}],
            [user("x"), {"role": "assistant", "content": "x", "tool_calls": []}],
            [user("x"), assistant("y"), user("z")],
            [user("x"), user("x"), assistant("y")],
            [[user("x"), assistant("y")]],
            _nested(rng.choice([5, 99, 101, 150])),
        ]
    )


def _nested(depth: int) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = [value]
    return value


def _spoil_row(rng: random.Random, row: Row, other: Row) -> tuple[Row, str]:
    """A copy of a row with one or a few things wrong; its mark stays."""
    row = json.loads(json.dumps(row))
    said = []
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        names = [name for name in row if name != MARK]
        if not names:
            break
        name = rng.choice(names)
        way = rng.randrange(7)
        if way == 0:
            del row[name]
            said.append(f"without {name}")
        elif way == 1:
            row = {(f"{name} " if key == name else key): value for key, value in row.items()}
            said.append(f"{name} renamed")
        elif way == 2:
            row[name] = [row[name]]
            said.append(f"{name} in a list")
        elif way == 3:
            row[name] = row[rng.choice(names)]
            said.append(f"{name} from another column")
        elif way == 4 and isinstance(row[name], list) and row[name]:
            row[name] = _spoil_list(rng, row[name])
            said.append(f"an item of {name}")
        elif way == 5 and other is not row:
            added = rng.choice([key for key in other if key != MARK])
            row[added] = other[added]
            said.append(f"with {added} of another layout")
        else:
            row[name] = _strange_value(rng)
            said.append(f"{name} = {str(row[name])[:40]!r}")
    return row, ", ".join(said)


def _spoil_list(rng: random.Random, items: list[Any]) -> list[Any]:
    index = rng.randrange(len(items))
    item = items[index]
    if isinstance(item, dict) and item and rng.getrandbits(1):
        item = {**item, rng.choice(list(item)): _strange_value(rng)}
        return [*items[:index], item, *items[index + 1 :]]
    way = rng.randrange(4)
    if way == 0:
        return [*items[:index], *items[index + 1 :]]
    if way == 1:
        return [*items, items[index]]
    if way == 2:
        return items[::-1]
    return [*items[:index], _strange_value(rng), *items[index + 1 :]]


def _spoil_values(rng: random.Random, folder: Path, corpus: Corpus) -> Case:
    touched, rows, said = _touch(rng, corpus), list(corpus.rows), []
    other = make_corpus(rng, kind="jsonl").rows[0]
    for index in touched:
        rows[index], words = _spoil_row(rng, rows[index], other)
        said.append(f"row {index + 1} {words}")
    path = write_as(folder, corpus.kind, rows)
    return Case(path, "; ".join(said), corpus, _marks(corpus, touched), False, len(rows))


# Lines, byte by byte


def _spoil_lines(rng: random.Random, folder: Path, corpus: Corpus, *, huge: bool = False) -> Case:
    lines, touched, said = lines_of(corpus.rows), _touch(rng, corpus), []
    for index in touched:
        way = "a text of 100 MB" if huge else rng.choice(list(_LINE_WAYS))
        lines[index] = _huge(rng, lines[index]) if huge else _LINE_WAYS[way](rng, lines[index])
        said.append(f"line {index + 1}: {way}")
        if huge:
            touched = [index]
            break
    separator = b"\r\n" if rng.random() < 0.1 else b"\n"
    data = separator.join(lines) + (b"" if rng.random() < 0.2 else separator)
    before = b"".join(rng.choices([b"\n", b" \t\n", b"\r\n"], k=rng.choice([0, 0, 0, 3])))
    data = before + data
    path = folder / f"corpus.{corpus.kind}"
    path.write_bytes(b"\xef\xbb\xbf" + data if rng.random() < 0.1 else data)
    rows = [line for line in data.split(b"\n") if line and not line.isspace()]
    return Case(path, "; ".join(said), corpus, _marks(corpus, touched), False, len(rows))


def _flip(rng: random.Random, line: bytes) -> bytes:
    data = bytearray(line)
    for _ in range(rng.choice([1, 1, 3, 20])):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


_PIECES = (b"\xff\xfe", b"\x00", b"\xc3(", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\\ud800", b"\\", b'"', b"{", b"]")
_OTHERS = (b"[]", b"3", b'"text"', b"null", b"true", b"NaN")
_FOREIGN = (b"PAR1", b"PK\x03\x04", b"<html></html>", b"a,b\n1,2\n", b"[", b"[]")


def _insert(rng: random.Random, line: bytes) -> bytes:
    at = rng.randrange(len(line) + 1)
    return line[:at] + rng.choice(_PIECES) + line[at:]


def _cut_out(rng: random.Random, line: bytes) -> bytes:
    start = rng.randrange(len(line))
    return line[:start] + line[start + rng.randint(1, 20) :]


def _with_key(value: str) -> Callable[[random.Random, bytes], bytes]:
    """Puts `"odd": value` in front of the other keys."""
    return lambda rng, line: b'{"odd": ' + value.encode() + b", " + line[1:]


def _huge(rng: random.Random, line: bytes) -> bytes:
    """The row with a text that takes 100 MB in the file."""
    row = json.loads(line)
    name = rng.choice([name for name in row if name != MARK])
    letter, in_ascii = rng.choice(["x", "é", '"', "\x00"]), bool(rng.getrandbits(1))
    row[name] = letter * (100 * MEGABYTE // len(json.dumps(letter, ensure_ascii=in_ascii)[1:-1].encode()))
    return json.dumps(row, ensure_ascii=in_ascii).encode()


_LINE_WAYS: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "bytes changed": _flip,
    "bytes put in": _insert,
    "bytes left out": _cut_out,
    "cut off": lambda rng, line: line[: rng.randrange(len(line))],
    "twice in one line": lambda rng, line: line + line,
    "something behind it": lambda rng, line: line + rng.choice([b",", b"}", b"//", b"\x00", b"\xff", b" null"]),
    "space around it": lambda rng, line: rng.choice([b" ", b"\t", b"\r"]) + line + rng.choice([b" ", b"\t\r"]),
    "not an object": lambda rng, line: rng.choice([*_OTHERS, b"[" + line + b"]"]),
    "an empty object": lambda rng, line: b"{}",
    "random bytes": lambda rng, line: rng.randbytes(rng.randint(1, 200)).replace(b"\n", b" "),
    "a byte order mark": lambda rng, line: b"\xef\xbb\xbf" + line,
    "UTF-16": lambda rng, line: line.decode().encode("utf-16").replace(b"\n", b" "),
    "single quotes": lambda rng, line: line.replace(b'"', b"'"),
    "a key twice": lambda rng, line: line[:-1] + b", " + line[1:],
    "NaN": _with_key("NaN"),
    "-Infinity": _with_key("[-Infinity]"),
    "a number of 5,000 digits": _with_key("9" * 5000),
    "a large exponent": _with_key("1e999999"),
    "half a surrogate pair": _with_key('"\\ud83d"'),
    "a surrogate pair": _with_key('"\\ud83d\\ude00"'),
    "depth 99,000": _with_key("[" * 99_000 + "]" * 99_000),
    "open brackets": lambda rng, line: b'{"a":' * rng.choice([200, 20_000]),
    "a text of 2 MB": lambda rng, line: line[:-1] + b', "long": "' + b"x" * (2 * MEGABYTE) + b'"}',
    "many keys": lambda rng, line: line[:-1] + b"".join(b', "k%d": %d' % (i, i) for i in range(500)) + b"}",
}


# Tables


def _spoil_table(rng: random.Random, folder: Path, corpus: Corpus) -> Case:
    table = pa.Table.from_pylist(corpus.rows)
    touched = _touch(rng, corpus)
    names = [name for name in table.column_names if name != MARK]
    name = rng.choice(names)
    place = table.column_names.index(name)
    column = table.column(name).combine_chunks()
    strings = [n for n in names if table.schema.field(n).type == pa.string()]
    way = rng.choice(["nulls", "values", "bytes", "encoding", "extra", "groups"])
    if way == "bytes" and not strings:
        way = "nulls"
    if way == "nulls":
        values = [None if i in touched else v for i, v in enumerate(column.to_pylist())]
        table = table.set_column(place, name, pa.array(values, column.type))
    elif way == "values":
        values = column.to_pylist()
        for index in touched:
            values[index] = _strange_of(rng, column.type, values[index])
        table = table.set_column(place, name, pa.array(values, column.type))
    elif way == "bytes":
        name = rng.choice(strings)
        values = [v.encode() for v in table.column(name).to_pylist()]
        for index in touched:
            values[index] = rng.choice([b"\xff", b"\xed\xa0\x80", values[index][:3] + b"\xc3", rng.randbytes(9)])
        binary = pa.array(values, pa.binary())
        broken = pa.Array.from_buffers(pa.string(), len(values), binary.buffers())
        table = table.set_column(table.column_names.index(name), name, broken)
    elif way == "encoding":
        touched = []
        table = _encoded(rng, table)
    elif way == "extra":
        touched = []
        table = table.append_column("odd", _odd_column(rng, table.num_rows))
    else:
        touched = []
    path = folder / "corpus.parquet"
    options: dict[str, Any] = (
        {"row_group_size": rng.randint(1, NUM_ROWS)} if way == "groups" or rng.getrandbits(1) else {}
    )
    pq.write_table(table, path, compression=rng.choice(["snappy", "zstd", "gzip", "none"]), **options)
    return Case(path, f"{way} of {name}, rows {touched}", corpus, _marks(corpus, touched), False, len(corpus.rows))


def _strange_of(rng: random.Random, type_: pa.DataType, value: Any) -> Any:
    """A strange value that an Arrow type can hold."""
    if pa.types.is_string(type_):
        return rng.choice(["", "  \n", "\x00", "\ufeff", "\n\nHuman:", "x" * 2_000_000, None])
    if pa.types.is_floating(type_):
        return rng.choice([float("nan"), float("inf"), -float("inf"), 1e39, 1e308, -0.0, None])
    if pa.types.is_integer(type_):
        return rng.choice([-1, 7, 2**63 - 1, -(2**63), None])
    if pa.types.is_list(type_):
        return rng.choice([[], None, [None], (value or []) * 2, (value or [])[::-1]])
    return None


_STRINGS = (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()))


def _encoded(rng: random.Random, table: pa.Table) -> pa.Table:
    """The same values in another Arrow type."""
    for place, name in enumerate(table.column_names):
        column = table.column(name)
        if column.type == pa.string():
            kind = rng.choice(_STRINGS)
            column = column.combine_chunks().dictionary_encode() if pa.types.is_dictionary(kind) else column.cast(kind)
        elif pa.types.is_int64(column.type):
            column = column.cast(rng.choice([pa.int8(), pa.int32(), pa.int64()])) if name != "id" else column
        table = table.set_column(place, name, column)
    return table


def _odd_column(rng: random.Random, num_rows: int) -> pa.Array:
    day = datetime.datetime(2026, 11, 21, 12, 30, 15, 999)
    makers: list[Callable[[], pa.Array]] = [
        lambda: pa.nulls(num_rows),
        lambda: pa.array([day] * num_rows, pa.timestamp("ns")),
        lambda: pa.array([day] * num_rows, pa.timestamp("us", tz="Europe/Berlin")),
        lambda: pa.array([day.date()] * num_rows),
        lambda: pa.array([day.time()] * num_rows, pa.time64("us")),
        lambda: pa.array([datetime.timedelta(1)] * num_rows),
        lambda: pa.array([decimal.Decimal("1.50")] * num_rows),
        lambda: pa.array([b"\xff\x00"] * num_rows),
        lambda: pa.array([b"ab"] * num_rows, pa.binary(2)),
        lambda: pa.array([1.5] * num_rows, pa.float16()),
        lambda: pa.array([2**64 - 1] * num_rows, pa.uint64()),
        lambda: pa.array([[("a", 1)]] * num_rows, pa.map_(pa.string(), pa.int64())),
        lambda: pa.array([[1.0, 2.0]] * num_rows, pa.list_(pa.float32(), 2)),
        lambda: pa.array([{"a": {"b": [None]}}] * num_rows),
        lambda: pa.array([True, None] * (num_rows // 2)),
        lambda: pa.array([[b"\xff"]] * num_rows),
        lambda: pa.array([float("nan")] * num_rows),
    ]
    return rng.choice(makers)()


# Whole files


def _spoil_file(rng: random.Random, folder: Path, corpus: Corpus) -> Case:
    path = write_as(folder, corpus.kind, corpus.rows)
    data = path.read_bytes()
    ways: list[Callable[[], tuple[str, bytes]]] = [
        lambda: ("empty", b""),
        lambda: ("blank", rng.choice([b"\n", b" \n\t\n", b"\xef\xbb\xbf", b"\r\n\r\n"])),
        lambda: ("cut off", data[: rng.randrange(len(data))]),
        lambda: ("cut off in front", data[rng.randrange(1, len(data)) :]),
        lambda: ("bytes changed", _flip(rng, data)),
        lambda: ("something behind it", data + rng.randbytes(rng.randint(1, 50))),
        lambda: ("random bytes", rng.randbytes(rng.randint(1, 5000))),
        lambda: ("zeros", bytes(len(data))),
        lambda: ("compressed once more", gzip.compress(data)),
        lambda: (
            "a file of another kind",
            rng.choice(_FOREIGN),
        ),
        lambda: ("no row", _table_bytes(pa.Table.from_pylist(corpus.rows).slice(0, 0))),
        lambda: ("no column", _table_bytes(pa.table({}))),
        lambda: ("a column twice", _table_bytes(_with_a_column_twice(corpus.rows))),
        lambda: ("only bad rows", _as_kind(folder, corpus.kind, [{**row, **_NOTHING} for row in corpus.rows])),
        lambda: ("another layout", _as_kind(folder, corpus.kind, [{"a": 1, MARK: row[MARK]} for row in corpus.rows])),
        lambda: ("more columns than anybody has", _as_kind(folder, corpus.kind, [{f"c{n}": 1 for n in range(5000)}])),
    ]
    said, spoiled = rng.choice(ways)()
    path.write_bytes(spoiled)
    return Case(path, said, corpus, None, True, None)


_NOTHING = dict.fromkeys(
    ("prompt", "chosen", "rejected", "response", "completion", "messages", "response1", "response_0", "context"),
    "",
)


def _table_bytes(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _with_a_column_twice(rows: Sequence[Row]) -> pa.Table:
    table = pa.Table.from_pylist(list(rows))
    return table.append_column(table.column_names[0], table.column(0))


def _as_kind(folder: Path, kind: str, rows: list[Row]) -> bytes:
    return write_as(folder, kind, rows).read_bytes()


def _touch(rng: random.Random, corpus: Corpus) -> list[int]:
    """A few rows, fewer than would change what the file as a whole looks like."""
    return sorted(rng.sample(range(len(corpus.rows)), rng.choice([1, 1, 2, 3])))


def _marks(corpus: Corpus, touched: Sequence[int]) -> frozenset[str]:
    return frozenset(row[MARK] for index, row in enumerate(corpus.rows) if index not in touched)


def good_file(rng: random.Random, folder: Path) -> Path:
    """A second, good file of some layout, to stand beside a spoiled one."""
    corpus = make_corpus(rng, kind="jsonl")
    return write_as(folder, corpus.kind, corpus.rows)
