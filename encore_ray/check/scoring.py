"""Who would score a job's pairs: whether it is there, fits the rules, and what it would read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from encore_ray.check.early import refuse_ranges
from encore_ray.check.place import memory, size
from encore_ray.check.ratings import look_at_ratings
from encore_ray.check.sample import Sample
from encore_ray.config import JobConfig
from encore_ray.corpora.files.sources import SourceFile
from encore_ray.engine.local import this_machine
from encore_ray.engine.pools import Resources, score_pool
from encore_ray.engine.probes import cluster_address
from encore_ray.errors import ClusterError
from encore_ray.passes.scorers.api.reach import reach
from encore_ray.passes.scorers.by_api import ApiScorer
from encore_ray.passes.scorers.by_model import ModelScorer
from encore_ray.passes.scorers.by_ratings import RatingsScorer, rated_rules, rules_of_ratings
from encore_ray.passes.scorers.choose import choose_scorer, require_named_files
from encore_ray.passes.scorers.model.planned import JudgeModel, ScoringModel
from encore_ray.passes.scorers.model.preview import first_texts, preview
from encore_ray.passes.scorers.scorer import Scorer
from encore_ray.rules import RuleSet
from encore_ray.run import look_at_run
from encore_ray.storage import Folder

SHOWN_PAIRS, SHOWN_CHARS = 3, 300
_NAMED_RULES = 12


@dataclass
class ScoringCheck:
    """Looks at the scorer of a job.

    Attributes:
        scorer: once it is found.
        texts: what the model reads of the first pairs, their beginnings.
    """

    config: JobConfig
    scorer: Scorer | None = None
    texts: tuple[str, ...] = ()

    def find(self, sample: Sample | None) -> Iterator[str]:
        """Who scores, by which rules, as what and where.

        Raises:
            ConfigError, DataError, ModelError, ClusterError: as `run` would.
        """
        config = self.config
        require_named_files(config)
        if config.model is None and config.judge is None:
            yield from self._ratings(sample)
            return
        try:
            found = choose_scorer(config, look_at_run(Folder(config.run)), resources=_here)
        except ClusterError:
            if cluster_address(config.cluster) is None:
                raise
            yield "its actors do not fit this machine; whether they fit the cluster shows when it is joined"
            return
        self.scorer = found
        if isinstance(found, ModelScorer):
            yield from self._model(found)
        elif isinstance(found, ApiScorer):
            yield f"{found.judge.options.model} at {found.judge.url}"
            yield reach(found.judge.url, found.judge.options)
        yield _named(found.rules)
        refuse_ranges(config, found)

    def read(self, sample: Sample | None) -> Iterator[str]:
        """How the model would read the first pairs.

        Raises:
            ModelError, DataError: as `run` would, of what these pairs show.
        """
        if not isinstance(self.scorer, ModelScorer) or sample is None or sample.pairs is None:
            return
        model = self.scorer.model
        assert isinstance(model, ScoringModel)
        _, notes = preview(model, sample.units)
        yield from notes
        texts = first_texts(model, sample.units[0], SHOWN_PAIRS)
        self.texts = tuple(_beginning(chosen) for chosen, _ in texts)

    def rate(self, sample: Sample | None, files: Sequence[SourceFile]) -> Iterator[str]:
        """Whether ratings in the data lie on their scales; errors as of `look_at_ratings`."""
        if isinstance(self.scorer, RatingsScorer) and sample is not None:
            yield from look_at_ratings(self.scorer.rules, sample, files, self.config.weigh)

    def _ratings(self, sample: Sample | None) -> Iterator[str]:
        if sample is None:
            yield "not looked at: the corpus could not be read"
            return
        found = choose_scorer(self.config, look_at_run(Folder(self.config.run)), resources=_here)
        assert isinstance(found, RatingsScorer)
        rules = rules_of_ratings(rated_rules(sample.units), found.given)
        self.scorer = RatingsScorer(rules)
        yield f"ratings in the data, {_named(rules)}"
        unused = [name for name in rated_rules(sample.units) if name not in rules.names]
        if unused:
            yield f"ratings of {', '.join(unused)} are not used: the rules do not name them"
        refuse_ranges(self.config, self.scorer)

    def _model(self, found: ModelScorer) -> Iterator[str]:
        from encore_ray.models.loading.identity import identify_model
        from encore_ray.passes.scorers.model.place import local_model

        model, options = found.model, self.config.score
        files = identify_model(local_model(model.source)).files
        stored = sum(file.stat().st_size for file in files if file.suffix in (".safetensors", ".bin"))
        kind = "judge" if isinstance(model, JudgeModel) else "model"
        yield f"{kind} {model.path}, digest {model.facts['model'][:12]}, weights of {size(stored)}"
        where = (
            f"{model.facts['dtype']} on {model.facts['device']}, {model.facts['batch_tokens']} tokens a forward pass"
        )
        if cluster_address(self.config.cluster) is None:
            pool = score_pool(options, this_machine(), num_units=1 << 20)
            yield f"{where}, by {pool} at most"
            held, free = pool.max_actors * stored, memory()[0]
            if not pool.gpus and held > free:
                yield f"so many actors hold {size(held)} of weights or more, and {size(free)} of memory are unused"
        else:
            yield f"{where}, if the cluster's nodes are as this machine; its actors are counted when it is joined"
        for choice in dict.fromkeys(model.strategies):
            yield f"{choice.strategy}: {choice.reason}"


def _named(rules: RuleSet) -> str:
    names = rules.names
    more = f" and {len(names) - _NAMED_RULES} more" if len(names) > _NAMED_RULES else ""
    return f"{len(names)} rules in this order: {', '.join(names[:_NAMED_RULES])}{more}"


def _beginning(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]} …"


def _here(known: Mapping[str, Any]) -> Resources:
    """What this machine has for workers; whether other scores stand is looked at by itself."""
    return this_machine()
