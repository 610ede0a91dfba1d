"""Small runs in which rules can be selected: planted texts with their ratings as scores, sealed as the passes do."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from transformers import AutoModel

from encore_ray.corpora.planted.corpus import planted_text
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import pass_tables
from encore_ray.folder.protocol.commits import total_counts
from encore_ray.folder.reading.table_rules import RULES_METADATA
from encore_ray.folder.reading.tables import TableUnit, table_units
from encore_ray.models.forward.heads import LinearHeads
from encore_ray.models.loading.saving import save_multihead
from encore_ray.rules import RuleSet, Scale
from encore_ray.schema import PAIR_FIELDS, chosen_column, rejected_column, relevance_column
from encore_ray.storage import Folder
from tests.models import tiny

UNIT_PAIRS = 40
SINGLE = 7  # row of each unit that is a single response
RULES: RuleSet = planted_text(1, seed=0).world.rules


def write_run(folder: Path, *, num_units: int = 3, scored: bool = True) -> Folder:
    """A run after `prepare`, and after `score` by the planted ratings, which all are whole levels from 0 to 10."""
    run = Folder(str(folder))
    num_pairs = num_units * UNIT_PAIRS
    planted = planted_text(num_pairs, seed=2)
    rows = [
        {
            "pair_id": row["id"],
            "content_id": row["id"],
            "prompt_id": f"q{row['id']}",
            "prompt": [{"role": "user", "content": row["prompt"]}],
            "chosen": [{"role": "assistant", "content": row["chosen"]}],
            "rejected": None if number % UNIT_PAIRS == SINGLE else [{"role": "assistant", "content": row["rejected"]}],
            "subset": row["subset"],
        }
        for number, row in enumerate(planted.rows)
    ]
    pairs = pa.Table.from_pylist(rows, schema=pa.schema(PAIR_FIELDS))
    seal(run, "prepare", pairs)
    if scored:
        single_N = np.arange(num_pairs) % UNIT_PAIRS == SINGLE
        columns: dict[str, Any] = {name: pairs.column(name) for name in ("pair_id", "prompt_id", "group_id", "subset")}
        for k, name in enumerate(RULES.names):
            columns[chosen_column(name)] = pa.array(planted.world.chosen_NK[:, k])
            columns[rejected_column(name)] = pa.array(planted.world.rejected_NK[:, k], mask=single_N)
        seal(run, "score", with_rules(pa.table(columns), RULES))
        run.write_atomic("rules.yaml", RULES.to_yaml().encode())
    return run


def turn_round(run: Folder) -> None:
    """Correct the direction of the first rule in a run's rules.yaml."""
    other = replace(RULES[0], higher_is="worse" if RULES[0].higher_is == "better" else "better")
    run.write_atomic("rules.yaml", RuleSet([other, *list(RULES)[1:]]).to_yaml().encode())


def write_relevance(
    run: Folder,
    relevance_NK: np.ndarray,
    *,
    facts: Mapping[str, Any],
    drop: tuple[int, ...] = (),
    num_units: int | None = None,
) -> None:
    """relevance/ of all pairs of a run but some, or of its first units; null for single responses."""
    relevance_NK = relevance_NK[: num_units * UNIT_PAIRS] if num_units else relevance_NK
    num_pairs = len(relevance_NK)
    single_N = np.arange(num_pairs) % UNIT_PAIRS == SINGLE
    pairs = pa.concat_tables([unit.read_all() for unit in units(run, "pairs")]).slice(0, num_pairs)
    columns: dict[str, Any] = {name: pairs.column(name) for name in ("pair_id", "prompt_id", "group_id", "subset")}
    for k, name in enumerate(RULES.names):
        columns[relevance_column(name)] = pa.array(relevance_NK[:, k].astype(np.float32), mask=single_N)
    seal(run, "relevance", with_rules(pa.table(columns), RULES), facts=facts, drop=drop)


def units(run: Folder, name: str) -> list[TableUnit]:
    """The units of a finished pass."""
    return table_units(run.child(name).uri)


def with_rules(table: pa.Table, rules: RuleSet) -> pa.Table:
    return table.replace_schema_metadata({RULES_METADATA: json.dumps(rules.to_list()).encode()})


def seal(
    run: Folder, name: str, content: pa.Table, *, facts: Mapping[str, Any] | None = None, drop: tuple[int, ...] = ()
) -> None:
    """Write a whole pass, in units of `UNIT_PAIRS` rows of which some rows are left out."""
    table = pass_tables(run)[name].open(facts or {})
    commits = {}
    for number in range(content.num_rows // UNIT_PAIRS):
        unit = f"u{number:03d}"
        rows = [number * UNIT_PAIRS + row for row in range(UNIT_PAIRS)]
        attempt = Attempt(table, unit, f"d{number}")
        attempt.write(content.take(pa.array([row for row in rows if row not in drop])))
        commits[unit] = attempt.commit({"rows": UNIT_PAIRS, "kept": UNIT_PAIRS, "scored": UNIT_PAIRS, "quarantined": 0})
    table.seal(list(commits), commits, total_counts(commits.values()))


def save_adapter(folder: Path, *, rules: RuleSet | None = None) -> Path:
    """A rule adapter with random weights, whose probabilities differ from pair to pair."""
    tok = tiny.tokenizer(chat=True)
    config = tiny.config("llama", vocab_size=len(tok))
    config.max_position_embeddings = 4096
    torch.manual_seed(5)
    backbone = AutoModel.from_config(config)
    tiny.spread(backbone)
    rules = rules or RuleSet(replace(rule, link="sigmoid", scale=Scale(0.0, 1.0)) for rule in RULES)
    heads = LinearHeads(torch.randn(len(rules), 32), torch.randn(len(rules)))
    save_multihead(folder, backbone=backbone, tokenizer=tok, heads=heads, rules=rules, pooling="last")
    return folder
