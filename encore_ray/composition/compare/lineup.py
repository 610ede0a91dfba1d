"""The line-up of `compare`: every weight scheme with its weights, and ENCORE swept over temperatures and bins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encore_ray.composition.compare.diagnostics import RuleDiagnostics
from encore_ray.composition.compare.soft_min import SoftMin
from encore_ray.composition.compare.weightings import TopRuleWeights, Weightings
from encore_ray.composition.consensus.consensus import Consensus
from encore_ray.composition.inference.entropy import Entropy, entropy
from encore_ray.composition.measure.counts import RuleCounts
from encore_ray.composition.measure.statistics import RuleStatistics
from encore_ray.composition.scales.ties import linear_reach, tie_tolerance
from encore_ray.composition.sums.moments import Moments
from encore_ray.composition.weigh.evidence import Learned, consensus_of, gather_evidence, kept_rules
from encore_ray.composition.weigh.groups import group_entropies, weigh_groups
from encore_ray.composition.weigh.points import weigh_rules
from encore_ray.composition.weigh.rated import Ratings
from encore_ray.composition.weigh.scheme import Competition, Evidence, Scheme
from encore_ray.composition.weigh.schemes import SCHEMES, Encore, Uniform
from encore_ray.composition.weigh.schemes import Consensus as ByConsensus
from encore_ray.composition.weigh.weights import Weights
from encore_ray.errors import DataError

TEMPERATURES = (0.25, 0.5, 1.0, 2.0, 4.0)

BY_GROUP = "encore_by_group"
BY_RATINGS = "encore_by_ratings"

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
class SweepCell:
    """ENCORE at one temperature and number of bins; None for the bins that the options ask for."""

    temperature: float
    num_bins: int | None
    weight_K: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Lineup:
    """All entrants, the cells of the sweep, and the weightings that both are made of.

    Attributes:
        cell_weighting_C: which weighting each cell is.
        left_out: why a scheme gives no weights here, a sentence each.
        consensus: of the kept rules.
    """

    entrants: tuple[Entrant, ...]
    cells: tuple[SweepCell, ...]
    cell_weighting_C: tuple[int, ...]
    weightings: Weightings
    left_out: tuple[str, ...]
    consensus: Consensus | None = None


def line_up(
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
    force_consensus: bool = False,
    ratings: Ratings | None = None,
) -> Lineup:
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
        force_consensus: let weights by consensus compete even where they are not to be trusted.
        ratings: a second table under the same rules, by whose entropies ENCORE competes too.
    """
    rules = _KeptRules.of(diagnostics.statistics, weights, learned)
    evidence = rules.evidence([rule.entropy for rule in weights.rules])
    encore = Encore(temperature)
    competition = Competition(
        temperature=temperature,
        num_rules=num_lowest,
        seed=seed,
        num_kept=len(rules.kept),
        num_selected=selection["num_rules"] if selection else None,
        force_consensus=force_consensus,
    )
    entrants, soft_mins, top_rules, left_out = _enter_schemes(competition, evidence, rules, diagnostics.responses)
    by_subset = None
    if by_group:
        by_subset = _weigh_subsets(encore, evidence, rules)
        entrants.append(Entrant(BY_GROUP, encore.params | {"by_group": True}, False, None))
    if ratings is not None:
        weight_K = rules.weigh(encore, rules.rated(ratings))
        entrants.append(Entrant(BY_RATINGS, encore.params | {"ratings": ratings.table}, False, weight_K[None]))
    by_mask: tuple[NDArray[np.float64], ...] = ()
    if selection is not None:
        equal_K, encore_K = (rules.weigh(scheme, evidence) for scheme in (Uniform(), encore))
        by_mask = (equal_K, encore_K, equal_K)
        drawn = {"num_rules": min(selection["num_rules"], len(rules.kept)), "seed": seed}
        told = ({**selection}, {**encore.params, **selection}, drawn)
        entrants += [Entrant(name, params, False, None) for name, params in zip(SELECTED, told, strict=True)]
    cells: list[SweepCell] = []
    for num_bins, count_KL in zip([None, *swept_num_bins], [None, *diagnostics.swept_SK], strict=True):
        cells += _sweep(evidence if count_KL is None else rules.counted_anew(count_KL), num_bins, temperature, rules)

    linear = [weight_K for entrant in entrants if entrant.weight_DK is not None for weight_K in entrant.weight_DK]
    weight_LK = np.stack([*linear, *(cell.weight_K for cell in cells)])
    weightings = Weightings(
        weight_LK=weight_LK,
        soft_mins=tuple(soft_mins),
        top_rules=tuple(top_rules),
        by_subset=by_subset,
        by_mask=by_mask,
        kept=tuple(rules.kept),
        range_K=weights.width_K,
        tolerance_L=np.array([tie_tolerance(linear_reach(row, weights.width_K)) for row in weight_LK.tolist()]),
        pair_tolerance=tie_tolerance(max(weights.width_K)),
        members_E=_number_weightings(entrants, num_linear=len(weight_LK)),
        uniform=next(number for number, entrant in enumerate(entrants) if entrant.name == Uniform.name),
        consensus=next((number for number, entrant in enumerate(entrants) if entrant.name == ByConsensus.name), None),
    )
    cell_weighting_C = tuple(range(len(linear), len(weight_LK)))
    return Lineup(tuple(entrants), tuple(cells), cell_weighting_C, weightings, tuple(left_out), rules.consensus)


@dataclass(frozen=True, eq=False)
class _KeptRules:
    """The rules that may have a weight, and all that is known of them."""

    statistics: RuleStatistics
    weights: Weights
    learned: Learned
    kept: list[int]
    consensus: Consensus | None

    @classmethod
    def of(cls, statistics: RuleStatistics, weights: Weights, learned: Learned) -> "_KeptRules":
        kept = kept_rules(statistics, min_active=weights.min_active)
        consensus = consensus_of(statistics, kept=kept, score_range=weights.score_range)
        return cls(statistics, weights, learned, kept, consensus)

    def evidence(self, entropy_K: Sequence[Entropy], counted_K: Sequence[RuleCounts] | None = None) -> Evidence:
        """What schemes see, given the entropies of all rules, and what they are of; None for the scores."""
        return gather_evidence(
            self.statistics,
            entropy_K,
            kept=self.kept,
            log_base=self.weights.log_base,
            score_range=self.weights.score_range,
            learned=self.learned,
            consensus=self.consensus,
            counted_K=counted_K,
        )

    def counted_anew(self, count_KL: Sequence[NDArray[np.int64]]) -> Evidence:
        """What schemes see, given the histograms of all rules in other bins."""
        values = [entropy(n_L, log_base=self.weights.log_base, estimator=self.weights.estimator) for n_L in count_KL]
        return self.evidence([Entropy(value, value, value) for value in values])

    def rated(self, ratings: Ratings) -> Evidence:
        """What schemes see, given the entropies of a second table."""
        log_base, estimator = self.weights.log_base, self.weights.estimator
        counted_K = ratings.statistics.counts_K
        values = [entropy(counts.count_L, log_base=log_base, estimator=estimator) for counts in counted_K]
        return self.evidence([Entropy(value, value, value) for value in values], counted_K)

    def weigh(self, scheme: Scheme, evidence: Evidence) -> NDArray[np.float64]:
        """The weights of all rules, 0 for those that may have none."""
        weight_K = np.zeros(len(self.weights.rules))
        weight_K[self.kept] = weigh_rules(scheme, evidence)
        return weight_K


def _enter_schemes(
    competition: Competition, evidence: Evidence, rules: _KeptRules, responses: Moments
) -> tuple[list[Entrant], list[SoftMin], list[TopRuleWeights], list[str]]:
    """The schemes that compete, their soft-mins, the weights that a pair decides, and why others are left out."""
    entrants: list[Entrant] = []
    soft_mins: list[SoftMin] = []
    top_rules: list[TopRuleWeights] = []
    left_out: list[str] = []
    if competition.num_kept == 1:
        left_out.append("One rule alone has a weight, the same under every scheme: only two of them are shown.")
    for scheme in SCHEMES:
        instances = scheme.competing(competition)
        if not instances or (competition.num_kept == 1 and scheme not in (Encore, Uniform)):
            continue
        num_top, sharpness = instances[0].rules_a_pair, instances[0].soft_min_sharpness
        try:
            if sharpness is not None:
                soft_mins.append(SoftMin.of(rules.weigh(instances[0], evidence), responses, sharpness=sharpness))
                weight_DK = None
            elif num_top is not None:
                top_rules.append(TopRuleWeights(weigh_rules(instances[0], evidence), num_top))
                weight_DK = None
            else:
                weight_DK = np.stack([rules.weigh(instance, evidence) for instance in instances])
        except DataError as error:
            left_out.append(f"Not compared: {scheme.name}. {error}")
            continue
        entrants.append(Entrant(scheme.name, _shared_params(instances), scheme.lesson is not None, weight_DK))
    return entrants, soft_mins, top_rules, left_out


def _shared_params(instances: Sequence[Scheme]) -> dict[str, Any]:
    """The options that all draws of a scheme agree in, and how many draws there are of several."""
    first, *others = (instance.params for instance in instances)
    if not others:
        return first
    shared = {name: value for name, value in first.items() if all(other[name] == value for other in others)}
    return shared | {"num_draws": len(instances)}


def _weigh_subsets(scheme: Scheme, evidence: Evidence, rules: _KeptRules) -> Mapping[str | None, NDArray[np.float64]]:
    """The weights of each subset's pairs, and under None those of all others."""
    weights = rules.weights
    groups = group_entropies(rules.statistics, log_base=weights.log_base, estimator=weights.estimator)
    weighed = weigh_groups(groups, scheme=scheme, evidence=evidence)
    by_subset = {name: np.array(list(group["weights"].values())) for name, group in weighed.items()}
    return {**by_subset, None: rules.weigh(scheme, evidence)}


def _sweep(evidence: Evidence, num_bins: int | None, temperature: float, rules: _KeptRules) -> list[SweepCell]:
    """A cell for each temperature."""
    return [
        SweepCell(tau, num_bins, rules.weigh(Encore(tau), evidence)) for tau in sorted({*TEMPERATURES, temperature})
    ]


def _number_weightings(entrants: Sequence[Entrant], *, num_linear: int) -> tuple[tuple[int, ...], ...]:
    """Which weightings each entrant is made of: those with weights come first, the others after all linear ones."""
    members: list[tuple[int, ...]] = []
    first, other = 0, num_linear
    for entrant in entrants:
        if entrant.weight_DK is None:
            members.append((other,))
            other += 1
        else:
            members.append(tuple(range(first, first + len(entrant.weight_DK))))
            first += len(entrant.weight_DK)
    return tuple(members)
