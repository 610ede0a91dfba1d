"""Select: the rules that each pair deserves and the label that they give it, unit by unit, resumable.

The reference looks at scores: the rules that tell the two responses most apart, relevance added where a judge has rated
it. A rule adapter needs no scores to choose: it has learnt the reference from texts, and its top rules are those of the
highest probability, which is its relevance. Labels are the sum of the chosen rules' scores, where there are scores.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from encore_ray.arrays import to_arrow
from encore_ray.composition.measure.differences import signed_differences
from encore_ray.composition.measure.vetoes import BrokenRules
from encore_ray.composition.scales.score_range import ScoreRange, check_ranges, score_divisor
from encore_ray.composition.select.selection import RuleSelection, label_pairs, most_relevant, select_rules
from encore_ray.config import SelectOptions
from encore_ray.engine.work.unit_work import Task
from encore_ray.errors import ConfigError, DataError
from encore_ray.folder.attempt import Attempt
from encore_ray.folder.protocol.commits import total_counts
from encore_ray.folder.reading.score_block import ScoreBlock, read_scores
from encore_ray.folder.reading.table_rules import rules_metadata, stored_rules, table_rules
from encore_ray.folder.reading.tables import TableUnit, column_names, count_numbers, table_units
from encore_ray.folder.spec import RELEVANCE, SELECT
from encore_ray.passes.scorers.outputs import CARRIED
from encore_ray.passes.selection.selected import pairs_with_relevance, read_relevance
from encore_ray.rules import RuleSet
from encore_ray.run import Run
from encore_ray.schema import (
    PAIR_ID,
    SCORES_DIR,
    SELECTED_COUNT,
    SELECTION_LABEL,
    SELECTION_MARGIN,
    SUBSET,
    relevance_column,
    selected_column,
)
from encore_ray.step import Record, Step
from encore_ray.storage import fingerprint
from encore_ray.visible import short

SelectBy = Literal["auto", "scores", "adapter"]


@dataclass(frozen=True)
class SelectionMethod:
    """How rules are selected.

    Attributes:
        num_rules: a pair.
        score_range: how scores of rules of different range are added up.
        by: adapter: relevance alone chooses. auto: it is added to the discrepancy of the scores, where a judge has
            rated it. scores: it does not count.
    """

    num_rules: int
    score_range: ScoreRange
    by: SelectBy

    @classmethod
    def of(cls, options: SelectOptions, *, by_adapter: bool) -> "SelectionMethod":
        """As a section of the configuration says, but that an adapter, where there is one, chooses."""
        return cls(options.num_rules, options.score_range, "adapter" if by_adapter else options.by)

    @property
    def by_adapter(self) -> bool:
        return self.by == "adapter"

    def facts(self, rules: RuleSet, *, by_relevance: bool) -> dict[str, Any]:
        """What decides a selection, beside scores and relevances."""
        by = "adapter" if self.by_adapter else "relevance and scores" if by_relevance else "scores"
        return {"rules": rules.fingerprint, "num_rules": self.num_rules, "score_range": self.score_range, "by": by}


@dataclass(frozen=True)
class _Sources:
    """A unit's scores and relevances; one of them may be missing."""

    scores: TableUnit | None
    relevance: TableUnit | None

    @property
    def first(self) -> TableUnit:
        """What says which pairs there are."""
        unit = self.scores or self.relevance
        assert unit is not None
        return unit


@dataclass(frozen=True)
class Select(Step[dict[str, int]]):
    """Write selection/; resumable.

    Makes counts: rows, pairs, singles (left out: there is nothing to tell apart), without_relevance (left out too,
    where relevance counts); of pairs with scores chosen_better, rejected_better and ties; selected.<rule>, the pairs
    that each rule is selected for; with hard rules decided_by_veto, the pairs whose label is that of a veto.

    Attributes:
        options: how many rules a pair, and by what. By an adapter, pairs may have no scores, and then get no label.

    Raises:
        ConfigError: more rules a pair than there are. DataError: ranges differ, a score is not finite, or scores and
            relevances are of different runs. ResumeRefused: the folder holds another selection.
    """

    spec = SELECT
    options: SelectionMethod

    def numbers(self, run: Run) -> int:
        return sum(count_numbers(table) for table in self._tables(run) if table)

    def __call__(self, run: Run) -> dict[str, int]:
        method = self.options
        scores, relevance = self._tables(run)
        scored = table_units(scores) if scores else []
        related = {unit.unit: unit for unit in table_units(relevance)} if relevance else {}
        rules = table_rules(scored, run.rules) if scores else _stored_rules(list(related.values()))
        check_method(method, rules)
        if relevance and scored:
            _check_relevance(related, scored, rules, relevance=relevance, method=method)
        sources = [_Sources(unit, related.get(unit.unit)) for unit in scored]
        sources = sources or [_Sources(None, unit) for unit in related.values()]
        output = run.table(SELECT).open(method.facts(rules, by_relevance=bool(relevance)), overwrite=run.overwrite)
        tasks = [_task(unit) for unit in sources]
        commits = run.finish(output, tasks, partial(_Select, rules, method))
        counts = total_counts(commits.values())
        rows_in = sum(task.rows for task in tasks)
        told = counts["pairs"] + counts["singles"] + counts["without_relevance"]
        assert told == rows_in, f"selected rules of {told} of {rows_in} rows"
        output.seal([task.unit for task in tasks], commits, counts)
        return counts

    def _tables(self, run: Run) -> tuple[str | None, str | None]:
        """Scores, and relevances where they count: an adapter's, or a judge's that nobody leaves out."""
        has_scores = not self.options.by_adapter or run.folder.exists(SCORES_DIR)
        related = run.table(RELEVANCE)
        is_judged = self.options.by == "auto" and (related.standing_facts() or {}).get("by") == "judge"
        counts = self.options.by_adapter or is_judged
        return run.path(SCORES_DIR) if has_scores else None, related.folder.uri if counts else None

    def record(self, made: dict[str, int]) -> Record:
        return Record(params=vars(self.options), metrics=made, step=made["rows"])


def check_method(method: SelectionMethod, rules: RuleSet) -> None:
    """Raise ConfigError for more rules a pair than there are, DataError where ranges differ."""
    check_ranges(rules, score_range=method.score_range, section="select")
    if not 1 <= method.num_rules <= len(rules):
        raise ConfigError(
            f"--num-rules {method.num_rules}: expected 1 to {len(rules)}, which is how many rules there are."
        )


def _stored_rules(units: list[TableUnit]) -> RuleSet:
    """The rules of relevances of pairs without scores."""
    rules = stored_rules(units[0]) if units else None
    if rules is None:
        raise DataError("There is no relevance of any pair: apply a rule adapter to pairs, or score them.")
    return rules


def _check_relevance(
    related: Mapping[str, TableUnit],
    scored: list[TableUnit],
    rules: RuleSet,
    *,
    relevance: str,
    method: SelectionMethod,
) -> None:
    """DataError where relevances are of other units or rules than the scores."""
    lacking = [unit.unit for unit in scored if unit.unit not in related]
    columns = column_names(next(iter(related.values()))) if related else []
    unknown = [name for name in rules.names if relevance_column(name) not in columns]
    if not lacking and not unknown:
        return
    remedy = "Apply the adapter again with --overwrite."
    if not method.by_adapter:
        remedy = (
            "Rate it again by `encore-ray rate --relevance --overwrite`, or leave it out by `encore-ray select --by "
            "scores`."
        )
    if lacking:
        raise DataError(
            f"{relevance} lacks {len(lacking)} of the {len(scored)} units of the scores, first of all {lacking[0]}. "
            f"{remedy}"
        )
    raise DataError(
        f"Rules differ: {relevance} lacks {len(unknown)} of the {len(rules)} rules of the scores: "
        f"{', '.join(unknown[:5])}{' …' if unknown[5:] else ''}. {remedy}"
    )


def _task(sources: _Sources) -> Task:
    unit = sources.first
    digest = fingerprint([None if part is None else part.digest for part in (sources.scores, sources.relevance)])
    return Task(unit.unit, digest, unit.rows, sources, unit.folder.path(unit.file))


class _Select:
    """Selects the rules of one unit: runs in a worker."""

    def __init__(self, rules: RuleSet, method: SelectionMethod):
        self._rules, self._method = rules, method
        self._range_K = [rule.scale.width / score_divisor(rule.scale, method.score_range) for rule in rules]

    def __call__(self, sources: _Sources, attempt: Attempt) -> Mapping[str, int]:
        unit = sources.first
        block = read_scores(unit, self._rules, extra=[SUBSET]) if sources.scores else None
        table = block.table if block else unit.read(CARRIED)
        relevance_KN = None
        is_pair_N = block.has_rejected_N if block else np.ones(table.num_rows, dtype=bool)
        taken_N = is_pair_N
        if sources.relevance is not None:
            relevance_KN = read_relevance(sources.relevance, table.column(PAIR_ID), self._rules)
            known_N = pairs_with_relevance(relevance_KN)
            is_pair_N = is_pair_N if block else known_N  # a single response has none
            taken_N = is_pair_N & known_N
            relevance_KN = relevance_KN[:, taken_N]
        kept = table.filter(pa.array(taken_N))
        d_KN = self._differences(block, taken_N, unit) if block else None
        mask_KN, labelled = self._choose(d_KN, relevance_KN)
        decided_N = self._decide(block, taken_N)
        if labelled and decided_N is not None:
            labelled = labelled.decided(decided_N)
        columns: dict[str, Any] = {
            name: kept.column(name) if name in kept.column_names else pa.nulls(kept.num_rows, pa.string())
            for name in CARRIED
        }
        columns |= {
            selected_column(name): pa.array(mask_N) for name, mask_N in zip(self._rules.names, mask_KN, strict=True)
        }
        columns[SELECTION_MARGIN] = (
            to_arrow(labelled.margin_N, null_N=np.isnan(labelled.margin_N))
            if labelled
            else pa.nulls(kept.num_rows, pa.float64())
        )
        columns[SELECTION_LABEL] = pa.array(labelled.label_N) if labelled else pa.nulls(kept.num_rows, pa.int8())
        attempt.write(pa.table(columns).replace_schema_metadata(rules_metadata(self._rules)))
        counts = {
            "rows": len(taken_N),
            "pairs": kept.num_rows,
            "singles": int((~is_pair_N).sum()),
            "without_relevance": int((is_pair_N & ~taken_N).sum()),
        }
        if labelled:
            named = {"chosen_better": 1, "rejected_better": -1, "ties": 0}
            counts |= {name: int((labelled.label_N == label).sum()) for name, label in named.items()}
        if decided_N is not None:
            counts["decided_by_veto"] = int(np.count_nonzero(decided_N))
        by_rule = zip(self._rules.names, mask_KN.sum(axis=1).tolist(), strict=True)
        return counts | {f"{SELECTED_COUNT}{name}": num_pairs for name, num_pairs in by_rule}

    def _decide(self, block: ScoreBlock | None, taken_N: np.ndarray) -> np.ndarray | None:
        """Which pairs vetoes decide; None without scores or hard rules."""
        if block is None:
            return None
        broken = BrokenRules.of(
            self._rules.rules,
            chosen_KN=block.chosen_KN,
            rejected_KN=block.rejected_KN,
            has_rejected_N=block.has_rejected_N,
        )
        return None if broken is None else broken.decided_N[taken_N]

    def _differences(self, block: ScoreBlock, taken_N: np.ndarray, unit: TableUnit) -> np.ndarray:
        sides = [[scores_N[taken_N] for scores_N in side_KN] for side_KN in (block.chosen_KN, block.rejected_KN)]
        d_KN = signed_differences(*sides, rules=self._rules, score_range=self._method.score_range)
        finite_KN = np.isfinite(d_KN)
        if not finite_KN.all():
            k, place = np.argwhere(~finite_KN)[0].tolist()
            first = short(block.pair_ids[int(np.flatnonzero(taken_N)[place])])
            raise DataError(
                f"{unit.folder.path(unit.file)}: {int((~finite_KN).sum()):,} scores are not finite, first of all of "
                f"pair {first} under rule {self._rules.names[k]}. Remove "
                "or rescore these pairs."
            )
        return d_KN

    def _choose(
        self, d_KN: np.ndarray | None, relevance_KN: np.ndarray | None
    ) -> tuple[np.ndarray, RuleSelection | None]:
        """The mask [K, N], and the labels where there are scores."""
        r = self._method.num_rules
        if not self._method.by_adapter:
            assert d_KN is not None, "the reference needs scores"
            found = select_rules(d_KN, r, range_K=self._range_K, relevance_KN=relevance_KN)
            return found.mask_KN, found
        assert relevance_KN is not None, "an adapter chooses by its relevance"
        mask_KN = most_relevant(relevance_KN, r)
        return mask_KN, None if d_KN is None else label_pairs(mask_KN, d_KN, range_K=self._range_K)
