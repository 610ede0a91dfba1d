"""features/: one vector of a frozen backbone for every response of every unit, to which heads can be fitted.

It has the units of pairs/, with pair_id, prompt_id, group_id, subset and, for each side, a column of D float16
numbers; those of a missing rejected response are NaN.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from encore_ray.arrays import to_numpy
from encore_ray.config import ScoreOptions
from encore_ray.engine.pools import FindResources
from encore_ray.folder.attempt import Attempt
from encore_ray.models.spec.conversation import Reads
from encore_ray.models.spec.forward import Pooling
from encore_ray.passes.scorers.embedding_table import SIDES, write_embeddings
from encore_ray.passes.scorers.model.place import local_model
from encore_ray.passes.scorers.model.plan import model_source, plan_body
from encore_ray.passes.scorers.model.planned import PlannedModel
from encore_ray.passes.scorers.model.reading import with_template
from encore_ray.passes.scorers.outputs import UnitOutputs
from encore_ray.rules import Rule, RuleSet, Scale

if TYPE_CHECKING:
    from encore_ray.models.loading.ensemble_scorer import EnsembleScorer


@dataclass(frozen=True)
class FeatureModel(PlannedModel):
    """A backbone that embeds responses; as planned on the driver.

    Attributes:
        size: numbers of an embedding.
        pooling: which tokens make it.
        reads: the whole conversation, or the response alone.
    """

    size: int = field(kw_only=True)
    pooling: Pooling = field(kw_only=True)
    reads: Reads = field(kw_only=True)

    def load(self) -> "EnsembleScorer":
        from encore_ray.models.loading.embedding import load_embedder

        return load_embedder(
            local_model(self.source),
            self.load_options,
            strategy=self.strategies[0].strategy,
            pooling=self.pooling,
            reads=self.reads,
        )

    @property
    def outputs_fingerprint(self) -> str:
        return _fingerprint(self.size)


@cache
def _fingerprint(size: int) -> str:
    """That of as many rules: so every plan of features says how many numbers an embedding has."""
    scale = Scale(-1.0, 1.0)
    return RuleSet(Rule(f"dimension_{d}", "", "better", scale) for d in range(size)).scoring_fingerprint


def plan_features(
    path: str, options: ScoreOptions, *, pooling: Pooling, reads: Reads, resources: FindResources
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
    from encore_ray.models.loading.embedding import embedding_size

    options = with_template(options)
    place = local_model(model_source(path, options))
    size = embedding_size(place)
    strategies, facts = plan_body(path, place, options, resources=resources)
    facts = {**facts, "pooling": pooling, "reads": reads}
    return FeatureModel(path, options, strategies, facts, size=size, pooling=pooling, reads=reads)


@dataclass(frozen=True)
class FeatureWriter:
    """Writes features/: the embeddings of a unit with their lengths, and how they were made."""

    def __call__(self, outputs: UnitOutputs, attempt: Attempt) -> Mapping[str, int]:
        return write_embeddings(outputs, attempt, columns=outputs.columns, metadata=outputs.metadata)


def read_features(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of both sides, float64 [N, D] each, rows of NaN where there is no rejected response."""
    sides = []
    for name in SIDES:
        column = table.column(name).combine_chunks()
        sides.append(to_numpy(column.flatten()).reshape(len(column), column.type.list_size).astype(np.float64))
    return sides[0], sides[1]
