"""What an actor of the score pass does with one unit: read, tokenise, plan, score, and write what can be used."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from encore_ray.config import ScoreOptions
from encore_ray.errors import DataError
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.commits import LeftOut
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.tables import TableUnit
from encore_ray.models.forward.budget import BudgetSearch
from encore_ray.models.forward.strategy import StrategyChoice
from encore_ray.models.judge.judge import Judging, load_judge
from encore_ray.models.loading.scoring import Prepared, Scored, Scoring, load_scoring
from encore_ray.models.spec.load_options import LoadOptions
from encore_ray.models.spec.source import ModelSource
from encore_ray.passes.scorers.embedding_table import write_embeddings
from encore_ray.passes.scorers.model_place import local_model
from encore_ray.passes.scorers.score_table import CARRIED, TEXTS, without, write_scores
from encore_ray.passes.scorers.scoring_cost import Effort
from encore_ray.rules import RuleSet
from encore_ray.schema import (
    CHOSEN,
    CHOSEN_TOKENS,
    PAIR_FIELDS,
    PAIR_ID,
    PROMPT,
    REJECTED,
    REJECTED_TOKENS,
    TRUNCATED,
    Reason,
)

SEARCH = "search"  # instead of a token budget
TOO_LONG = "a response of the pair, alone on the device, needs more memory than it has; max_tokens shortens it"


@dataclass(frozen=True)
class ScoringModel:
    """The model of a job, as planned on the driver.

    Attributes:
        path: folder, hub id or URL.
        options: how it is loaded and fed.
        rules: of its heads.
        strategies: one a member model, with what decided it.
        facts: what decides its scores, as JSON values; `batch_tokens` is "search" until a number has been found.
        search: how that number was found, if it was.
    """

    path: str
    options: ScoreOptions
    rules: RuleSet
    strategies: tuple[StrategyChoice, ...]
    facts: Mapping[str, Any]
    search: BudgetSearch | None = None

    def load(self) -> Scoring:
        """Load it in this process."""
        return load_scoring(
            local_model(self.source),
            self.load_options,
            strategies=[choice.strategy for choice in self.strategies],
            rules=self.rules,
            keep_embeddings=self.options.keep_embeddings,
        )

    @property
    def source(self) -> ModelSource:
        """The model as it was found, wherever a branch of its repository has moved on to since."""
        options = self.options
        revision = self.facts["revision"] or options.revision
        return ModelSource(self.path, revision, options.trust_remote_code, options.allow_pickle)

    @property
    def load_options(self) -> LoadOptions:
        """How every actor runs it."""
        gpus = self.options.gpus_per_actor or 1
        return LoadOptions(
            dtype=self.facts["dtype"],
            device=self.facts["device"],
            max_length=self.options.max_tokens,
            batch_tokens=None if self.facts["batch_tokens"] == SEARCH else self.facts["batch_tokens"],
            compile=self.options.compile,
            split=gpus > 1,
            gpu_share=gpus,
        )


@dataclass(frozen=True)
class JudgeModel(ScoringModel):
    """A causal language model that rates under the rules; as planned on the driver."""

    kind: ClassVar[type[Judging]] = Judging

    def load(self) -> Judging:
        return load_judge(
            local_model(self.source),
            self.load_options,
            strategy=self.strategies[0].strategy,
            rules=self.rules,
            kind=self.kind,
        )


class ModelScores:
    """Scores by a model or a judge; two calls at a time overlap reading and tokenising with the device's work.

    Args:
        model: as planned.
        embeddings: where the embeddings of each unit go as well, if they are kept.
    """

    def __init__(self, model: ScoringModel, embeddings: PassTable | None = None):
        self._model = model
        self._embeddings = embeddings
        self._scoring = model.load()
        self._device = threading.Lock()
        self._is_checked = False

    def __call__(self, unit: TableUnit, attempt: Attempt) -> Mapping[str, int]:
        table = unit.read([*CARRIED, *TEXTS])
        prepared, scored, bad, left_N = self._score(table, attempt.left_out)
        single_N = without(table, bad).column(REJECTED).is_null().to_numpy(zero_copy_only=False)
        lengths = {
            CHOSEN_TOKENS: pa.array(prepared.chosen_tokens_N[left_N], pa.int32()),
            REJECTED_TOKENS: pa.array(prepared.rejected_tokens_N[left_N], pa.int32(), mask=single_N),
            TRUNCATED: pa.array(prepared.truncated_N[left_N]),
        }
        facts = {key: "" if value is None else str(value) for key, value in self._model.facts.items()}
        scores_N2K = scored.scores_N2K[left_N]
        beside = attempt.beside(self._embeddings) if self._embeddings is not None else None
        if beside is not None:
            beside.commit(write_embeddings(unit, beside, table, scored.embeddings_N2D[left_N], bad=bad))
        counts = self._write(unit, attempt, table, scores_N2K, bad=bad, columns=lengths, facts=facts)
        if scored.batch_tokens is not None:
            attempt.notes["batch_tokens"] = scored.batch_tokens
        return {
            **counts,
            "truncated": int(np.count_nonzero(prepared.truncated_N)),
            **vars(Effort.of_unit(prepared, scored)),
        }

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
        rules = self._model.rules
        return write_scores(unit, attempt, table, scores_N2K, rules=rules, bad=bad, columns=columns, facts=facts)

    def embed(self, unit: TableUnit, attempt: Attempt) -> Mapping[str, int]:
        """Write the embeddings of a unit alone."""
        table = unit.read([*CARRIED, *TEXTS])
        _, scored, bad, left_N = self._score(table, attempt.left_out)
        return write_embeddings(unit, attempt, table, scored.embeddings_N2D[left_N], bad=bad)

    def _score(
        self, table: pa.Table, left_out: Sequence[LeftOut]
    ) -> tuple[Prepared, Scored, list[LeftOut], np.ndarray]:
        """The pairs prepared and scored; those of the table that have no scores, and which of the scored have some."""
        prepared, refused = self._prepare(table, left_out)
        with self._device:
            if not self._is_checked and len(refused) < table.num_rows:
                self._is_checked = self._scoring.check(prepared, name=self._model.path)
            scored = self._scoring.score(prepared)
        row_N = np.setdiff1d(np.arange(table.num_rows), [bad.row for bad in refused])
        too_long = [LeftOut(int(row_N[i]), Reason.OUT_OF_MEMORY, TOO_LONG) for i in scored.too_long]
        left_N = np.ones(len(row_N), dtype=bool)
        left_N[list(scored.too_long)] = False
        return prepared, scored, [*refused, *too_long], left_N

    def search(self, units: Sequence[TableUnit]) -> BudgetSearch:
        """The token budget that suits the model and the pairs of these units."""
        schema = pa.schema([field for field in PAIR_FIELDS if field.name in (PAIR_ID, *TEXTS)])
        tables = [unit.read(schema.names) for unit in units]
        prepared, _ = self._prepare(pa.concat_tables([schema.empty_table(), *tables]), ())
        return self._scoring.find_budget(prepared, name=self._model.path)

    def _prepare(self, table: pa.Table, left_out: Sequence[LeftOut]) -> tuple[Prepared, list[LeftOut]]:
        """The pairs as token ids, planned; those that a chat template refuses are left out too, and named."""
        refused = list(left_out)
        try:
            return self._prepare_all(without(table, refused)), refused
        except DataError:
            others = set(range(table.num_rows)) - {pair.row for pair in left_out}
            refused += [bad for row in sorted(others) if (bad := self._refusal(table, row))]
            return self._prepare_all(without(table, refused)), refused

    def _refusal(self, table: pa.Table, row: int) -> LeftOut | None:
        try:
            self._prepare_all(table.slice(row, 1))
        except DataError as error:
            return LeftOut(row, Reason.TEMPLATE_REFUSED, str(error))
        return None

    def _prepare_all(self, table: pa.Table) -> Prepared:
        return self._scoring.prepare(
            table.column(PROMPT).to_pylist(),
            chosen=table.column(CHOSEN).to_pylist(),
            rejected=table.column(REJECTED).to_pylist(),
            pair_ids=table.column(PAIR_ID).to_pylist(),
        )


def find_budget(model: ScoringModel) -> Callable[[Sequence[TableUnit]], BudgetSearch]:
    """Makes the search for a token budget in an actor: from units of pairs to what it found."""
    return ModelScores(model).search
