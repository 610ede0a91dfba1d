"""Embed: one vector of a frozen backbone for every response of every unit, kept so that heads can be fitted to it.

features/ has the units of pairs/, with pair_id, prompt_id, group_id, subset and, for each side, a column of D float16
numbers; those of a missing rejected response are NaN.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from encore_ray.config import ScoreOptions
from encore_ray.engine.pools import Resources
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.commits import LeftOut
from encore_ray.folder.tables import TableUnit
from encore_ray.models.forward.heads import Pooling
from encore_ray.models.loading.embedding import Reads, dimension_rules, embedding_size, load_embedder
from encore_ray.models.loading.scoring import Scoring
from encore_ray.passes.scorers.embedding_table import SIDES, write_embeddings
from encore_ray.passes.scorers.model_place import local_model
from encore_ray.passes.scorers.model_plan import model_source, plan_body
from encore_ray.passes.scorers.score_table import facts_metadata
from encore_ray.passes.scorers.score_unit import ModelScores, ScoringModel


@dataclass(frozen=True)
class FeatureModel(ScoringModel):
    """A backbone, as planned on the driver; its rules are the numbers of an embedding."""

    @property
    def pooling(self) -> Pooling:
        return self.facts["pooling"]

    @property
    def reads(self) -> Reads:
        return self.facts["reads"]

    def load(self) -> Scoring:
        return load_embedder(
            local_model(self.source),
            self.load_options,
            strategy=self.strategies[0].strategy,
            pooling=self.pooling,
            reads=self.reads,
        )


def plan_features(
    path: str, options: ScoreOptions, *, pooling: Pooling, reads: Reads, resources: Resources
) -> FeatureModel:
    """Find a backbone and its identity, without loading its weights.

    Args:
        path: folder, hub id, or URL of a folder on an object store.
        pooling: which tokens make an embedding.
        reads: the whole conversation, or the response alone.

    Raises:
        ModelError: it is not there. ClusterError: its actors do not fit the cluster.
        ConfigError: the strategy asked for would change its embeddings.
    """
    place = local_model(model_source(path, options))
    size = embedding_size(place)
    strategies, facts = plan_body(path, place, options, resources=resources)
    return FeatureModel(path, options, dimension_rules(size), strategies, {**facts, "pooling": pooling, "reads": reads})


class Embeddings(ModelScores):
    """What an actor does with one unit: as it would score it, but the outputs are kept as vectors."""

    def _write(
        self,
        unit: TableUnit,
        attempt: Attempt,
        table: pa.Table,
        scores_N2K: np.ndarray,
        *,
        bad: Sequence[LeftOut],
        columns: Mapping[str, pa.Array],
        facts: Mapping[str, str],
    ) -> Mapping[str, int]:
        return write_embeddings(
            unit, attempt, table, scores_N2K, bad=bad, columns=columns, metadata=facts_metadata(facts)
        )


def read_features(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of both sides, float64 [N, D] each, rows of NaN where there is no rejected response."""
    sides = []
    for name in SIDES:
        column = table.column(name).combine_chunks()
        sides.append(column.flatten().to_numpy().reshape(len(column), column.type.list_size).astype(np.float64))
    return sides[0], sides[1]
