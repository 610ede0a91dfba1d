"""Bradley-Terry weights of a table of any size: each step of the fit is one pass over its units.

Nothing is kept of a row between passes. Sums of floats depend on their order, so those of the units are added in the
order of the units, whichever finishes first: the fit is the same to the last bit for any number of workers.
"""

import time
from collections.abc import Sequence
from functools import partial

import numpy as np

from encore_ray.composition.measure.differences import RuleAgreement
from encore_ray.composition.scales.score_range import ScoreRange
from encore_ray.composition.weigh.bradley_terry import BradleyTerryFit, Terms, fit
from encore_ray.engine.progress import Progress
from encore_ray.engine.work.reduce import Reducer, in_order
from encore_ray.folder.reading.score_block import read_scores
from encore_ray.folder.reading.tables import TableUnit
from encore_ray.rules import RuleSet

Points = tuple[np.ndarray, ...]
NumberedUnits = tuple[int, tuple[TableUnit, ...]]


def fit_bradley_terry(
    units: Sequence[TableUnit], rules: RuleSet, reducer: Reducer, *, score_range: ScoreRange
) -> BradleyTerryFit:
    """Fit free and simplex weights to the calibration pairs of a table; scores must be finite.

    Args:
        units: the table, at least one unit.
        rules: K of them, the columns to read.
        reducer: told of the progress of each pass in rows.
        score_range: "unit" maps each rule's scale to [0, 1], as `compose` does.
    """
    tasks = list(enumerate(reducer.chunks(units)))
    total_rows = sum(unit.rows for unit in units)

    def measure(points: Sequence[np.ndarray]) -> list[Terms]:
        started = time.monotonic()
        done_units, done_rows = 0, 0
        total: list[Terms] = []
        answers = reducer.map(partial(_Measure, rules, score_range, tuple(points)), tasks)
        for number, parts in in_order(answers):
            for terms in parts:
                total = [a + b for a, b in zip(total, terms, strict=True)] if total else list(terms)
            done_units, done_rows = done_units + len(parts), done_rows + sum(unit.rows for unit in tasks[number][1])
            seconds = time.monotonic() - started
            reducer.watch(Progress("fit", done_rows, total_rows, done_units, len(units), 0, seconds))
        return total

    return fit(measure, num_rules=len(rules))


def measure_agreement(
    units: Sequence[TableUnit], rules: RuleSet, reducer: Reducer, *, score_range: ScoreRange
) -> RuleAgreement:
    """How each rule alone agrees with the labels of the calibration pairs; arguments as of `fit_bradley_terry`."""
    return reducer.total("agreement", partial(_MeasureAgreement, rules, score_range), units)


class _Measure:
    """Terms of each of a few units at each point: runs in a worker."""

    def __init__(self, rules: RuleSet, score_range: ScoreRange, points: Points):
        self._rules, self._points = rules, points
        self._score_range: ScoreRange = score_range

    def __call__(self, numbered: NumberedUnits) -> tuple[int, list[tuple[Terms, ...]]]:
        number, units = numbered
        parts: list[tuple[Terms, ...]] = []
        for unit in units:
            d_KN = read_scores(unit, self._rules).calibration_differences(
                rules=self._rules, score_range=self._score_range
            )
            parts.append(tuple(Terms.of(d_KN, point_K) for point_K in self._points))
        return number, parts


class _MeasureAgreement:
    """How each rule alone agrees with the labels of one unit: runs in a worker."""

    def __init__(self, rules: RuleSet, score_range: ScoreRange):
        self._rules = rules
        self._score_range: ScoreRange = score_range

    def __call__(self, unit: TableUnit) -> RuleAgreement:
        d_KN = read_scores(unit, self._rules).calibration_differences(rules=self._rules, score_range=self._score_range)
        return RuleAgreement.of(d_KN, rules=self._rules, score_range=self._score_range)
