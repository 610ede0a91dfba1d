"""Scores, relevances and embeddings by a model on the actors of a cluster."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from encore_ray.engine.pools import ActorPool, Resources, score_pool
from encore_ray.engine.work.unit_work import Write
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.quarantine import Allowance
from encore_ray.folder.reading.tables import TableUnit
from encore_ray.folder.spec import EMBED
from encore_ray.passes.scorers.embed import finish_embeddings, open_embeddings
from encore_ray.passes.scorers.model.forward import score_writer, unit_by_model
from encore_ray.passes.scorers.model.place import model_paths
from encore_ray.passes.scorers.model.plan import settle_budget, with_standing_budget
from encore_ray.passes.scorers.model.planned import TEMPLATE, JudgeModel, PlannedModel, ScoringModel
from encore_ray.passes.scorers.model.preview import preview
from encore_ray.passes.scorers.outputs import OutputWriter
from encore_ray.passes.scorers.scoring_cost import ScoringCost
from encore_ray.rules import RuleSet
from encore_ray.run import Run

_SCORES = ("score", "rate")  # what makes scores/; an adapter's or a backbone's work is called otherwise

_ALTERATIONS = {
    "template_altered": "the template dropped or changed text of",
    "made_equal": "the template, or cutting, made both responses the same in",
}


def score_by_model(model: ScoringModel) -> "ModelScorer":
    """A model or judge that makes scores/, and embeddings/ beside it where its options keep them."""
    verb = "rate" if isinstance(model, JudgeModel) else "score"
    return ModelScorer(model, score_writer(model, None), verb)


@dataclass(frozen=True)
class ModelScorer:
    """A model that makes a table; see `Scorer`.

    Attributes:
        model: as planned.
        writer: keeps what is wanted of its outputs.
        verb: what the terminal calls it.
        embeddings: where the embeddings of the pairs go as well, once it is known that they are kept.
    """

    model: PlannedModel
    writer: OutputWriter
    verb: str
    embeddings: PassTable | None = None

    @property
    def rules(self) -> RuleSet:
        assert isinstance(self.model, ScoringModel), "a model that embeds has no rules"
        return self.model.rules

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.model.decisive_facts

    @property
    def tags(self) -> Mapping[str, str]:
        facts = self.model.facts
        return {"model": facts["model"][:16], **({"model_revision": facts["revision"]} if facts["revision"] else {})}

    @property
    def paths(self) -> Sequence[str]:
        return model_paths(self.model.path)

    def numbers(self, run: Run) -> None:
        return None

    def resumed(self, standing: Mapping[str, Any]) -> "ModelScorer":
        return replace(self, model=with_standing_budget(self.model, standing))

    def ready(self, run: Run, table: PassTable, units: Sequence[TableUnit], allowed: Allowance) -> "ModelScorer":
        model = settle_budget(self.model, units, table, engine=run.engine, overwrite=run.overwrite)
        if model.search:
            tried = "; ".join(map(str, model.search.trials))
            run.note(f"{self.verb} with {model.search.batch_tokens} tokens a forward pass ({tried})")
        notes: list[str] = []
        if self.verb in _SCORES and isinstance(model, ScoringModel):
            template, notes = preview(model, units)
            model = replace(model, facts={**model.facts, TEMPLATE: template})
        run.tracked.log_params(model.facts)
        pool = self.pool(run.engine.resources, len(units))
        run.note(f"{self.verb} on {pool}, {model.facts['dtype']} on {model.facts['device']}")
        for choice in dict.fromkeys(model.strategies):
            run.note(f"{self.verb} by {choice.strategy}: {choice.reason}")
        for note in notes:
            run.note(f"{self.verb}: {note}")
        if not (self.verb in _SCORES and isinstance(model, ScoringModel) and model.options.keep_embeddings):
            return replace(self, model=model)
        embeddings = open_embeddings(units, run.table(EMBED), model=model, overwrite=run.overwrite)
        return replace(self, model=model, writer=score_writer(model, embeddings), embeddings=embeddings)

    def pool(self, resources: Resources, num_units: int) -> ActorPool:
        return score_pool(self.model.options, resources, num_units=num_units)

    @property
    def work(self) -> Callable[[], Write]:
        return partial(unit_by_model, self.model, self.writer)

    def end(self, run: Run, counts: Mapping[str, int], max_bad_fraction: float) -> None:
        if self.embeddings is not None:
            finish_embeddings(run, self.embeddings, model=self.model, pool=self.pool, max_bad_fraction=max_bad_fraction)
        for name, said in _ALTERATIONS.items():
            if counts.get(name):
                run.note(f"{self.verb}: {said} {counts[name]:,} pairs")
        run.note(f"{self.verb} by {self.model.facts['strategy']}: {ScoringCost.of_counts(counts)}")
