"""From a unit of pairs to a model's outputs: read, tokenise, plan, and run the forward passes of one device."""

import json
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from encore_ray.arrays import to_numpy
from encore_ray.errors import DataError
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.protocol.commits import LeftOut
from encore_ray.folder.reading.tables import TableUnit
from encore_ray.models.spec.forward import BudgetSearch
from encore_ray.passes.scorers.embedding_table import WithEmbeddings
from encore_ray.passes.scorers.model.planned import MODEL, TEMPLATE, PlannedModel, ScoringModel
from encore_ray.passes.scorers.outputs import CARRIED, TEXTS, OutputWriter, UnitOutputs, without
from encore_ray.passes.scorers.score_table import ScoreWriter
from encore_ray.passes.scorers.score_unit import ScoreUnit
from encore_ray.passes.scorers.scoring_cost import ScoringCost
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

if TYPE_CHECKING:
    from encore_ray.models.loading.ensemble_scorer import PreparedPairs

TOO_LONG = "a response of the pair, alone on the device, needs more memory than it has; max_tokens shortens it"


class ModelForward:
    """The outputs of a model; two calls at a time overlap reading and tokenising with the device's work.

    Args:
        model: as planned; it is loaded here.
    """

    def __init__(self, model: PlannedModel):
        self._model = model
        self._files = model.require()
        self._scoring = model.load()
        self._files.check()
        self._device = threading.Lock()
        self._is_checked = False

    def __call__(self, unit: TableUnit, left_out: Sequence[LeftOut]) -> UnitOutputs:
        table = unit.read([*CARRIED, *TEXTS])
        prepared, refused = self._prepare(table, left_out)
        with self._device:
            if not self._is_checked and len(refused) < table.num_rows:
                self._is_checked = self._scoring.check(prepared, name=self._model.path)
            scored = self._scoring.score(prepared)
        self._files.check()
        row_N = np.setdiff1d(np.arange(table.num_rows), [bad.row for bad in refused])
        too_long = [LeftOut(int(row_N[i]), Reason.OUT_OF_MEMORY, TOO_LONG) for i in scored.too_long]
        left_N = np.ones(len(row_N), dtype=bool)
        left_N[list(scored.too_long)] = False
        bad = [*refused, *too_long]
        single_N = to_numpy(without(table, bad).column(REJECTED).is_null())
        # Files of before do not name the template: the same scores are the same bytes, and the commit names it.
        facts = {key: value for key, value in self._model.facts.items() if key != TEMPLATE}
        template = {TEMPLATE: self._model.facts[TEMPLATE]} if TEMPLATE in self._model.facts else {}
        return UnitOutputs(
            unit,
            table,
            bad,
            scored.scores_N2K[left_N],
            {key: _as_text(value) for key, value in facts.items()},
            scored.embeddings_N2D[left_N],
            columns={
                CHOSEN_TOKENS: pa.array(prepared.chosen_tokens_N[left_N], pa.int32()),
                REJECTED_TOKENS: pa.array(prepared.rejected_tokens_N[left_N], pa.int32(), mask=single_N),
                TRUNCATED: pa.array(prepared.truncated_N[left_N]),
            },
            counts={
                "truncated": int(np.count_nonzero(prepared.truncated_N)),
                **_alterations(prepared),
                **vars(ScoringCost.of_unit(prepared, scored)),
            },
            notes={MODEL: self._files.digest}
            | template
            | ({} if scored.batch_tokens is None else {"batch_tokens": scored.batch_tokens}),
        )

    def search(self, units: Sequence[TableUnit]) -> BudgetSearch:
        """The token budget that suits the model and the pairs of these units."""
        schema = pa.schema([field for field in PAIR_FIELDS if field.name in (PAIR_ID, *TEXTS)])
        tables = [unit.read(schema.names) for unit in units]
        prepared, _ = self._prepare(pa.concat_tables([schema.empty_table(), *tables]), ())
        return self._scoring.find_budget(prepared, name=self._model.path)

    def _prepare(self, table: pa.Table, left_out: Sequence[LeftOut]) -> tuple["PreparedPairs", list[LeftOut]]:
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

    def _prepare_all(self, table: pa.Table) -> "PreparedPairs":
        return self._scoring.prepare(
            table.column(PROMPT).to_pylist(),
            chosen=table.column(CHOSEN).to_pylist(),
            rejected=table.column(REJECTED).to_pylist(),
            pair_ids=table.column(PAIR_ID).to_pylist(),
        )


def _as_text(fact: Any) -> str:
    if isinstance(fact, dict):
        return json.dumps(fact, sort_keys=True)
    return "" if fact is None else str(fact)


def _alterations(prepared: "PreparedPairs") -> dict[str, int]:
    """How many pairs a template altered, and how many became equal; nothing where there are none."""
    found = {
        "template_altered": int(np.count_nonzero(prepared.altered_N)),
        "made_equal": int(np.count_nonzero(prepared.made_equal_N)),
    }
    return {count: number for count, number in found.items() if number}


def unit_by_model(model: PlannedModel, writer: OutputWriter) -> ScoreUnit:
    """The work of an actor that holds a model."""
    return ScoreUnit(ModelForward(model), writer)


def score_writer(model: ScoringModel, embeddings: PassTable | None) -> OutputWriter:
    """Writes the scores of a model, and its embeddings where a table for them is open."""
    writer = ScoreWriter(model.rules)
    return writer if embeddings is None else WithEmbeddings(writer, embeddings)


def open_budget_search(model: PlannedModel) -> Callable[[Sequence[TableUnit]], BudgetSearch]:
    """Makes the search for a token budget in an actor: from units of pairs to what it found."""
    return ModelForward(model).search
