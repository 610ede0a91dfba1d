"""Small real jobs: a planted text corpus, a tiny random model, and the run folder they make."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from encore_ray.config import JobConfig
from encore_ray.config.sources import make_config
from encore_ray.corpora.planted.corpus import planted_text
from encore_ray.folder.protocol.seal import read_manifest
from encore_ray.rules import Rule, RuleSet, Scale
from encore_ray.schema import PAIR_FIELDS
from encore_ray.storage import Folder
from tests.models import tiny

CLIPPED = RuleSet(Rule(f"rule_{k}", f"Rule {k}.", "better", Scale(-9.0, 9.0), out_of_range="clip") for k in range(3))


def write_corpus(path: Path, *, num_pairs: int, seed: int = 0) -> Path:
    """Planted pairs as TRL-explicit JSON Lines with ids and subsets."""
    rows = planted_text(num_pairs, seed=seed).rows
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def save_model(folder: Path) -> Path:
    return tiny.save_own_form(folder, "llama", pooling="last", rules=CLIPPED)


def config(folder: Path, **values: Any) -> JobConfig:
    """A job in a folder: corpus.jsonl scored by model/ into run/, untracked unless asked for."""
    defaults: dict[str, Any] = {
        "inputs": [str(folder / "corpus.jsonl")],
        "model": str(folder / "model"),
        "run": str(folder / "run"),
        "prepare": {"unit_pairs": 32},
        "tracking": {"enabled": False},
    }
    return make_config({**defaults, **values})


def table(folder: Path) -> pa.Table:
    """All rows of a finished pass folder, in manifest order."""
    place = Folder(str(folder))
    return pa.concat_tables([place.read_table(file.file) for file in read_manifest(place)])


def contents(run: Path) -> dict[str, str]:
    """What decides whether two runs are the same: digests of every table, weights and metrics."""
    found = {}
    for name in ("pairs", "scores", "rewards"):
        files = read_manifest(Folder(str(run / name)))
        found[name] = hashlib.sha256(repr([(f.unit, f.rows, f.digest) for f in files]).encode()).hexdigest()
    for name in ("weights.json", "metrics.json"):
        found[name] = hashlib.sha256((run / name).read_bytes()).hexdigest()
    return found


def commit_times(run: Path, name: str) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (run / name / "commits").glob("*.json")}


def write_unit(folder: Path, *, num_pairs: int) -> str:
    """One unit of pairs, each longer than the one before it, the third a single response; returns their folder."""
    rows = [
        {
            "pair_id": f"p{i}",
            "content_id": f"c{i}",
            "prompt_id": f"q{i}",
            "prompt": [{"role": "user", "content": "How do I get rid of it?"}],
            "chosen": [{"role": "assistant", "content": "Ask. " * (i + 1)}],
            "rejected": None if i == 2 else [{"role": "assistant", "content": "No"}],
        }
        for i in range(num_pairs)
    ]
    pairs = Folder(str(folder))
    pairs.write_table("pairs.parquet", pa.Table.from_pylist(rows, schema=pa.schema(PAIR_FIELDS)))
    return pairs.uri
