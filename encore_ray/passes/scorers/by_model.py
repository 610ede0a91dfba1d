"""Scores, relevances and embeddings by a model on the actors of a cluster."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from encore_ray.engine.pools import ActorPool, Resources, score_pool
from encore_ray.engine.unit_work import Write
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.spec import EMBED
from encore_ray.folder.tables import TableUnit
from encore_ray.passes.scorers.embed import finish_embeddings, open_embeddings
from encore_ray.passes.scorers.model_place import model_paths
from encore_ray.passes.scorers.model_plan import decisive_facts, settle_budget
from encore_ray.passes.scorers.score_unit import ModelScores, ScoringModel
from encore_ray.passes.scorers.scoring_cost import Effort
from encore_ray.rules import RuleSet
from encore_ray.run import Run


@dataclass(frozen=True)
class ModelScorer:
    """A model that makes a table; see `Scorer`.

    Attributes:
        model: as planned.
        unit_work: what an actor does with a unit.
        verb: what the terminal calls it.
        embeddings: where the embeddings of the pairs go as well, once it is known that they are kept.
    """

    model: ScoringModel
    unit_work: type[ModelScores] = ModelScores
    verb: str = "score"
    embeddings: PassTable | None = None

    @property
    def rules(self) -> RuleSet:
        return self.model.rules

    @property
    def facts(self) -> Mapping[str, Any]:
        return decisive_facts(self.model)

    @property
    def tags(self) -> Mapping[str, str]:
        facts = self.model.facts
        return {"model": facts["model"][:16], **({"model_revision": facts["revision"]} if facts["revision"] else {})}

    @property
    def paths(self) -> Sequence[str]:
        return model_paths(self.model.path)

    def numbers(self, run: Run) -> None:
        return None

    def ready(self, run: Run, table: PassTable, units: Sequence[TableUnit]) -> "ModelScorer":
        model = settle_budget(self.model, units, table, engine=run.engine, overwrite=run.overwrite)
        if model.search:
            tried = "; ".join(map(str, model.search.trials))
            run.note(f"{self.verb} with {model.search.batch_tokens} tokens a forward pass ({tried})")
        run.tracked.log_params(model.facts)
        pool = self.pool(run.engine.resources, len(units))
        run.note(f"{self.verb} on {pool}, {model.facts['dtype']} on {model.facts['device']}")
        for choice in dict.fromkeys(model.strategies):
            run.note(f"{self.verb} by {choice.strategy}: {choice.reason}")
        embeddings = None
        if model.options.keep_embeddings and self.unit_work is ModelScores:
            embeddings = open_embeddings(units, run.table(EMBED), model=model, overwrite=run.overwrite)
        return replace(self, model=model, embeddings=embeddings)

    def pool(self, resources: Resources, num_units: int) -> ActorPool:
        return score_pool(self.model.options, resources, num_units=num_units)

    @property
    def work(self) -> Callable[[], Write]:
        return partial(self.unit_work, self.model, self.embeddings)

    def end(self, run: Run, counts: Mapping[str, int], max_bad_fraction: float) -> None:
        if self.embeddings is not None:
            finish_embeddings(run, self.embeddings, model=self.model, pool=self.pool, max_bad_fraction=max_bad_fraction)
        run.note(f"{self.verb} by {self.model.facts['strategy']}: {Effort.of_counts(counts)}")
