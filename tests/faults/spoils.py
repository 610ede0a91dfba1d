"""What happens to a job's things while none of its commands runs: a disk loses them, or a person changes them.

A command that follows has either what it needs, and says nothing, or names the thing. Where it names it, the thing is
put back, and the next command goes on.
"""

import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from tests.faults.runs import Setup


@dataclass
class Spoilt:
    """What was done to a thing.

    Attributes:
        kind: what it is called.
        named: of which a refusal names one.
        before: its content, by file; None for what was not there.
    """

    kind: str
    named: tuple[str, ...]
    before: dict[Path, bytes | None] = field(default_factory=dict)

    def put_back(self) -> None:
        for file, content in self.before.items():
            if content is None:
                file.unlink(missing_ok=True)
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)

    def __str__(self) -> str:
        return f"{self.kind}: {', '.join(str(file) for file in self.before)}"


def _change(kind: str, file: Path, content: bytes | None, *, named: tuple[str, ...] = ()) -> Spoilt:
    """Give a file this content, under the times that it had; None: delete it."""
    spoilt = Spoilt(kind, (*named, file.name), {file: file.read_bytes()})
    stamp = file.stat()
    if content is None:
        file.unlink()
        return spoilt
    file.write_bytes(content)
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    return spoilt


def _flip(content: bytes, rng: random.Random) -> bytes:
    """The same with one bit turned over, not in its first or last bytes."""
    at = rng.randrange(min(8, len(content) - 1), max(len(content) - 8, min(8, len(content) - 1) + 1))
    return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]


def _pick(rng: random.Random, files: list[Path]) -> Path | None:
    return rng.choice(sorted(files)) if files else None


def _data_files(run: Path) -> list[Path]:
    """Those that commits name, and nobody else's."""
    named = set()
    for record in run.glob("*/commits/*.json"):
        table = record.parent.parent
        named |= {table / file["file"] for file in json.loads(record.read_text())["data"]}
    return [file for file in named if file.exists()]


def lost_data(rng: random.Random, setup: Setup, run: Path) -> Spoilt | None:
    file = _pick(rng, _data_files(run))
    return file and _change("data file deleted", file, None)


def cut_data(rng: random.Random, setup: Setup, run: Path) -> Spoilt | None:
    file = _pick(rng, _data_files(run))
    return file and _change("data file truncated", file, file.read_bytes()[: file.stat().st_size // 2])


def flipped_data(rng: random.Random, setup: Setup, run: Path) -> Spoilt | None:
    file = _pick(rng, _data_files(run))
    return file and _change("bit of a data file flipped", file, _flip(file.read_bytes(), rng))


def lost_quarantine(rng: random.Random, setup: Setup, run: Path) -> Spoilt | None:
    file = _pick(rng, list(run.glob("quarantine/*/*.parquet")))
    return file and _change("quarantine file deleted", file, None)


def cut_manifest(rng: random.Random, setup: Setup, run: Path) -> Spoilt | None:
    file = _pick(rng, list(run.glob("*/manifest.parquet")))
    if file is None:
        return None
    content, table = file.read_bytes(), pq.read_table(file)
    pq.write_table(table.slice(0, table.num_rows - 1), file)
    return Spoilt("manifest cut", (file.name,), {file: content})


def damaged_commit(rng: random.Random, setup: Setup, run: Path) -> Spoilt | None:
    file = _pick(rng, list(run.glob("*/commits/*.json")))
    if file is None:
        return None
    content = file.read_bytes()
    damaged = rng.choice([b"", content[: len(content) // 2], b"\0" * len(content)])
    return _change("commit record damaged", file, damaged)


def other_version(rng: random.Random, setup: Setup, run: Path) -> Spoilt | None:
    places = ("*/plan.json", "*/_SUCCESS", "*/commits/*.json", "weights.json", "metrics.json", "comparison.json")
    file = _pick(rng, [file for place in places for file in run.glob(place)])
    if file is None:
        return None
    content = {**json.loads(file.read_text()), "schema_version": 0}
    return _change("schema_version changed", file, json.dumps(content).encode(), named=(str(file.parent),))


def changed_result(rng: random.Random, setup: Setup, run: Path) -> Spoilt | None:
    """A digit of a result is another one, or the rest of it is lost."""
    file = _pick(rng, [run / name for name in ("weights.json", "metrics.json") if (run / name).exists()])
    if file is None:
        return None
    content = file.read_bytes()
    digits = [at for at in range(len(content) // 2, len(content)) if content[at : at + 1].isdigit()]
    at = rng.choice(digits)
    changed = content[:at] + (b"1" if content[at : at + 1] != b"1" else b"2") + content[at + 1 :]
    return _change("result changed", file, rng.choice([changed, content[:at]]))


def stale_input(rng: random.Random, setup: Setup, run: Path) -> Spoilt | None:
    """An input is another one under the same name, size and time."""
    if not (run / "pairs" / "_SUCCESS").exists():  # of a file that was not read yet, any content is the right one
        return None
    file = _pick(rng, [path for path in setup.inputs if path.suffix in (".jsonl", ".ndjson", ".json")])
    if file is None:
        return None
    content = file.read_bytes()
    at = next(at for at in range(len(content) // 2, len(content)) if content[at : at + 2].isalpha())
    changed = content[:at] + content[at : at + 1].swapcase() + content[at + 1 :]
    return _change("input rewritten, same size and time", file, changed, named=(str(file.parent),))


def swapped_model(rng: random.Random, setup: Setup, run: Path) -> Spoilt | None:
    """Weights of the model are others under the same name, size and time."""
    if "model" not in setup.config or not (run / "scores" / "plan.json").exists():
        return None
    model = Path(setup.config["model"])
    file = _pick(rng, list(model.glob("*.safetensors")))
    return file and _change(
        "model replaced in place", file, _flip(file.read_bytes(), rng), named=(str(model), "model was")
    )


def moved(rng: random.Random, setup: Setup, run: Path) -> Spoilt | None:
    """Run, inputs, rules and model lie elsewhere, and the configuration says so."""
    setup.move(setup.folder.with_name(f"{setup.folder.name.partition('-at-')[0]}-at-{rng.randrange(10**6)}"))
    return Spoilt("run, inputs and model moved", ())


SPOILS: dict[str, Callable[[random.Random, Setup, Path], Spoilt | None]] = {
    each.__name__: each
    for each in (
        lost_data,
        cut_data,
        flipped_data,
        lost_quarantine,
        cut_manifest,
        damaged_commit,
        other_version,
        changed_result,
        stale_input,
        swapped_model,
        moved,
    )
}
