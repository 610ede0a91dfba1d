"""Small runs that can be refined: planted scores, rewards and embeddings, written and sealed as the passes do."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encore_ray.composition.weigh.weighing import weigh
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.pass_table import pass_tables
from encore_ray.folder.protocol.commits import total_counts
from encore_ray.folder.reading.table_rules import RULES_METADATA
from encore_ray.passes.scorers.embedding_table import embedding_columns
from encore_ray.rules import Rule, RuleSet, Scale
from encore_ray.storage import Folder
from tests.composition.builders import make_rules, measure

WIDTH = 6
SINGLE = 7  # row of each unit that is a single response
RULES = RuleSet(
    [
        Rule("quality", "The response is good.", "better", Scale(-20.0, 30.0)),
        Rule("harm", "The response does harm.", "worse", Scale(-20.0, 30.0)),
    ]
)


def write_run(
    folder: Path,
    *,
    num_units: int = 5,
    unit_pairs: int = 120,
    wrong: float = 0.04,
    spoil_test: bool = False,
    vetoed: Sequence[int] = (),
) -> Folder:
    """A run after compose, with embeddings.

    Rewards are linear in the embedding but for noise; a share of the labels is wrong. The third dimension is constant.
    Of the rules, `quality` scores a tenth of the reward, `harm`, of which less is better, 10 minus that.

    Args:
        spoil_test: turn all rewards of the pairs of the test half upside down.
        vetoed: rows of each unit whose chosen response breaks a hard rule, `quality`.
    """
    run = Folder(str(folder))
    tables = pass_tables(run)
    rng = np.random.default_rng(3)
    direction_D = rng.standard_normal(WIDTH)
    made: dict[str, dict] = {"score": {}, "compose": {}, "embed": {}}
    for name in made:
        tables[name] = tables[name].open({})
    for number in range(num_units):
        unit = f"u{number:03d}"
        e_N2D = rng.standard_normal((unit_pairs, 2, WIDTH)).astype(np.float16).astype(np.float32)
        e_N2D[:, :, 2] = 0.25
        quality_N2 = e_N2D @ direction_D
        turned_N = (quality_N2[:, 0] < quality_N2[:, 1]) ^ (rng.random(unit_pairs) < wrong)
        e_N2D[turned_N], quality_N2[turned_N] = e_N2D[turned_N, ::-1], quality_N2[turned_N, ::-1]
        r_N2 = 40 + 10 * (quality_N2 + 0.5 * rng.standard_normal((unit_pairs, 2)))
        pair_ids = [f"p{number}-{row}" for row in range(unit_pairs)]
        if spoil_test:
            r_N2[in_test_half(pair_ids)] *= -1
        single_N = np.arange(unit_pairs) == SINGLE
        e_N2D[single_N, 1] = np.nan
        rewards = {
            "pair_id": pair_ids,
            "prompt_id": pair_ids,
            "chosen_reward": pa.array(r_N2[:, 0]),
            "rejected_reward": pa.array(r_N2[:, 1], mask=single_N),
            "margin": pa.array(r_N2[:, 0] - r_N2[:, 1], mask=single_N),
        }
        if vetoed:
            names = pa.list_(pa.string())
            rewards["chosen_vetoes"] = pa.array([["quality"] * (n in vetoed) for n in range(unit_pairs)], names)
            rewards["rejected_vetoes"] = pa.array([None if n == SINGLE else [] for n in range(unit_pairs)], names)
            rewards["margin"] = pc.if_else(pa.array([n in vetoed for n in range(unit_pairs)]), None, rewards["margin"])
        half_N2D = e_N2D.astype(np.float16)
        embeddings = {"pair_id": pair_ids, **embedding_columns(half_N2D)}
        scores = {"pair_id": pair_ids, "prompt_id": pair_ids, "chosen_tokens": list(range(unit_pairs))}
        for name, score_N2 in (("quality", r_N2 / 10), ("harm", 10 - r_N2 / 10)):
            scores[f"chosen__{name}"] = pa.array(score_N2[:, 0].astype(np.float32))
            scores[f"rejected__{name}"] = pa.array(score_N2[:, 1].astype(np.float32), mask=single_N)
        metadata = {RULES_METADATA: json.dumps(RULES.to_list()).encode()}
        contents = {
            "score": pa.table(scores).replace_schema_metadata(metadata),
            "compose": pa.table(rewards),
            "embed": pa.table(embeddings),
        }
        for name, content in contents.items():
            attempt = Attempt(tables[name], unit, f"d{number}")
            attempt.write(content)
            made[name][unit] = attempt.commit({"rows": unit_pairs})
    for name, commits in made.items():
        tables[name].seal(list(commits), commits, total_counts(commits.values()))
    statistics = measure([[0.1, 0.4], [0.2, 0.9]], [[0.3, 0.2], [0.6, 0.7]], rules=make_rules(2))
    run.child("rewards").write_json("weights.json", weigh(statistics).to_dict())
    return run


def in_test_half(pair_ids: list[str]) -> np.ndarray:
    from encore_ray.composition.hashing.keys import heldout_halves

    return heldout_halves(pair_ids)[1]
