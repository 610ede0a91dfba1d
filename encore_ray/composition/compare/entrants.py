"""Who competes in `compare`: every weight scheme with its weights, and ENCORE again at other temperatures and bins."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.compare.diagnostics import RuleDiagnostics
from encore_ray.composition.compare.lineup import Judges
from encore_ray.composition.measure.counts import TIE_TOLERANCE
from encore_ray.composition.measure.entropy import Entropy, entropy
from encore_ray.composition.weigh.evidence import Learned, gather_evidence, kept_rules
from encore_ray.composition.weigh.groups import group_entropies, weigh_groups
from encore_ray.composition.weigh.scheme import Competition, Evidence, Scheme
from encore_ray.composition.weigh.schemes import SCHEMES, Encore, Uniform
from encore_ray.composition.weigh.weights import Weights
from encore_ray.errors import DataError

TEMPERATURES = (0.25, 0.5, 1.0, 2.0, 4.0)

BY_GROUP = "encore_by_group"

# Equal weights and ENCORE's inside the selected rules of each pair, and equal weights of as many drawn at random.
SELECTED = {
    "selected": "Selected rules",
    "encore_selected": "ENCORE × selected rules",
    "random_selected": "As many rules at random",
}


@dataclass(frozen=True, eq=False)
class Entrant:
    """One line of the comparison.

    Attributes:
        weight_DK: its weights, a row each of several draws; None where a pair decides its weights.
    """

    name: str
    params: dict[str, Any]
    uses_labels: bool
    weight_DK: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class Cell:
    """ENCORE at one temperature and number of bins; None for the bins that the options ask for."""

    temperature: float
    num_bins: int | None
    weight_K: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Field:
    """All entrants, in the order of the standings; the cells of the sweep; and the judges that stand for both.

    Attributes:
        cell_judge_C: which judge each cell is.
        left_out: why a scheme gives no weights here, a sentence each.
    """

    entrants: tuple[Entrant, ...]
    cells: tuple[Cell, ...]
    cell_judge_C: tuple[int, ...]
    judges: Judges
    left_out: tuple[str, ...]

    @property
    def draw_judges(self) -> tuple[int, ...]:
        """The judges with random weights, draw by draw."""
        return next(
            judged for entrant, judged in zip(self.entrants, self.judges.standings, strict=True) if len(judged) > 1
        )


def enter(
    diagnostics: RuleDiagnostics,
    weights: Weights,
    *,
    temperature: float,
    learned: Learned,
    num_lowest: int | None,
    seed: int,
    by_group: bool,
    swept_num_bins: Sequence[int | None],
    selection: Mapping[str, Any] | None = None,
) -> Field:
    """Weigh the kept rules under every scheme.

    Args:
        diagnostics: of the whole corpus.
        weights: ENCORE's, from the same statistics: they tell the entropies and how these were estimated.
        temperature: tau of ENCORE.
        learned: of the kept rules.
        num_lowest: rules of lowest_entropy; None for 5, or all where there are fewer.
        seed: of the random weights.
        by_group: let ENCORE with weights of each subset compete too.
        swept_num_bins: the number of bins of each of `diagnostics.swept_SK`.
        selection: of the rules that each pair deserves: `num_rules` a pair, as many as max_discrepancy then keeps, and
            what else it is told by; None where no rules are selected. See `SELECTED`.
    """
    statistics = diagnostics.statistics
    kept = kept_rules(statistics, min_active=weights.min_active)
    entropies = [rule.entropy for rule in weights.rules]
    gather = {"kept": kept, "log_base": weights.log_base, "score_range": weights.score_range, "learned": learned}
    evidence = gather_evidence(statistics, entropies, **gather)
    competition = Competition(
        temperature=temperature,
        num_rules=num_lowest,
        seed=seed,
        num_kept=len(kept),
        num_selected=selection["num_rules"] if selection else None,
    )
    lines = [scheme.competing(competition) for scheme in SCHEMES]
    entrants, masked, left_out = _weigh_all(filter(None, lines), evidence, kept, num_rules=len(entropies))
    encore = Encore(temperature)
    by_subset: dict[str | None, NDArray[np.float64]] | None = None
    if by_group:
        groups = group_entropies(statistics, log_base=weights.log_base, estimator=weights.estimator)
        weighed = weigh_groups(groups, scheme=encore, evidence=evidence)
        by_subset = {name: np.array(list(group["weights"].values())) for name, group in weighed.items()}
        by_subset[None] = _spread(encore.weigh(evidence), kept, len(entropies))
        entrants.append(Entrant(BY_GROUP, encore.params | {"by_group": True}, False, None))
    by_mask: tuple[NDArray[np.float64], ...] = ()
    if selection is not None:
        equal_K, encore_K = (_spread(scheme.weigh(evidence), kept, len(entropies)) for scheme in (Uniform(), encore))
        by_mask = (equal_K, encore_K, equal_K)
        drawn = {"num_rules": min(selection["num_rules"], len(kept)), "seed": seed}
        told = ({**selection}, {**encore.params, **selection}, drawn)
        entrants += [Entrant(name, params, False, None) for name, params in zip(SELECTED, told, strict=True)]

    cells: list[Cell] = []
    for num_bins, count_KL in zip([None, *swept_num_bins], [None, *diagnostics.swept_SK], strict=True):
        if count_KL is not None:
            values = [entropy(n_L, log_base=weights.log_base, estimator=weights.estimator) for n_L in count_KL]
            entropies = [Entropy(value, value, value) for value in values]
        swept = gather_evidence(statistics, entropies, **gather)
        cells += [
            Cell(tau, num_bins, _spread(Encore(tau).weigh(swept), kept, len(entropies)))
            for tau in sorted({*TEMPERATURES, temperature})
        ]
    judges, cell_judge_C = _seat(
        entrants,
        cells,
        weights,
        kept=kept,
        masked=tuple(masked),
        by_subset=by_subset,
        by_mask=by_mask,
    )
    return Field(tuple(entrants), tuple(cells), cell_judge_C, judges, tuple(left_out))


def _weigh_all(
    lines: Iterable[Sequence[Scheme]], evidence: Evidence, kept: Sequence[int], *, num_rules: int
) -> tuple[list[Entrant], list[tuple[NDArray[np.float64], int]], list[str]]:
    """The entrants, (weights of kept rules, rules a pair) of those that a pair decides, and who is left out."""
    entrants: list[Entrant] = []
    masked: list[tuple[NDArray[np.float64], int]] = []
    left_out: list[str] = []
    for instances in lines:
        scheme, params = instances[0], _shared_params(instances)
        try:
            kept_weights = [instance.weigh(evidence) for instance in instances]
        except DataError as error:
            left_out.append(f"Scheme {scheme.name} is left out: {error}")
            continue
        weight_DK = None
        if scheme.rules_a_pair is None:
            weight_DK = np.stack([_spread(kept_weight, kept, num_rules) for kept_weight in kept_weights])
        else:
            masked.append((kept_weights[0], scheme.rules_a_pair))
        entrants.append(Entrant(scheme.name, params, scheme.uses_labels, weight_DK))
    return entrants, masked, left_out


def _shared_params(instances: Sequence[Scheme]) -> dict[str, Any]:
    """The options that all draws of a scheme agree in, and how many draws there are of several."""
    first, *others = (instance.params for instance in instances)
    if not others:
        return first
    shared = {name: value for name, value in first.items() if all(other[name] == value for other in others)}
    return shared | {"num_draws": len(instances)}


def _spread(kept_weight: NDArray[np.float64], kept: Sequence[int], num_rules: int) -> NDArray[np.float64]:
    """The weights of all rules, 0 for those that may have none."""
    weight_K = np.zeros(num_rules)
    weight_K[list(kept)] = kept_weight
    return weight_K


def _seat(
    entrants: Sequence[Entrant],
    cells: Sequence[Cell],
    weights: Weights,
    *,
    kept: Sequence[int],
    masked: tuple[tuple[NDArray[np.float64], int], ...],
    by_subset: Mapping[str | None, NDArray[np.float64]] | None,
    by_mask: tuple[NDArray[np.float64], ...],
) -> tuple[Judges, tuple[int, ...]]:
    """Number the judges: linear ones of entrants, those of cells, then the others; and the judge of each cell."""
    linear: list[NDArray[np.float64]] = []
    standings: list[tuple[int, ...]] = []
    others = sum(len(entrant.weight_DK) for entrant in entrants if entrant.weight_DK is not None) + len(cells)
    for entrant in entrants:
        if entrant.weight_DK is None:
            standings.append((others,))
            others += 1
        else:
            standings.append(tuple(range(len(linear), len(linear) + len(entrant.weight_DK))))
            linear += list(entrant.weight_DK)
    cell_judge_C = tuple(range(len(linear), len(linear) + len(cells)))
    weight_JK = np.stack([*linear, *(cell.weight_K for cell in cells)])
    tolerances = [
        TIE_TOLERANCE * max(1.0, sum(abs(w) * width for w, width in zip(row.tolist(), weights.width_K, strict=True)))
        for row in weight_JK
    ]
    judges = Judges(
        weight_JK=weight_JK,
        tolerance_J=np.array(tolerances),
        kept=tuple(kept),
        masked=masked,
        masked_tolerance=TIE_TOLERANCE * max(1.0, *weights.width_K),
        range_K=weights.width_K,
        by_subset=by_subset,
        by_mask=by_mask,
        standings=tuple(standings),
        uniform=next(number for number, entrant in enumerate(entrants) if entrant.name == Uniform.name),
    )
    return judges, cell_judge_C
