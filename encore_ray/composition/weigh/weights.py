"""The weights of a rule set, as stored in weights.json."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from encore_ray.composition.inference.agreement import Correlation
from encore_ray.composition.inference.entropy import Entropy, Estimator, LogBase
from encore_ray.composition.measure.vetoes import hard_rules
from encore_ray.composition.scales.binning import Binning
from encore_ray.composition.scales.score_range import ScoreRange, score_divisor
from encore_ray.composition.weigh.consensus_record import ConsensusRecord
from encore_ray.composition.weigh.formulas import effective_num_rules
from encore_ray.composition.weigh.rated import RatedRecord
from encore_ray.errors import DataError
from encore_ray.rules import HigherIs, Rule, RuleSet, Scale, Veto, parse_points, prior_keys
from encore_ray.schema import SCHEMA_VERSION
from encore_ray.storage import fingerprint

_FIT = ("explained", "trusted", "num_groups", "groups")  # of a consensus, where the scheme weighs by it
_SHARED_PARAMS = {"estimator", "score_range", "min_active", "clip", "by_group", "ratings"}  # of every scheme


def weighed_rules(rules: "Iterable[Rule | RuleWeight]") -> list[Any]:
    """What of each rule weights are made from."""
    return [
        [rule.name, rule.higher_is, rule.scale.to_dict(), *filter(None, [prior_keys(rule.veto, rule.points)])]
        for rule in rules
    ]


@dataclass(frozen=True)
class RuleWeight:
    """One rule's weight and the figures that explain it; None where no pair tells.

    Attributes:
        weight: multiplies the polarity-signed score.
        entropy: in the unit of the log base, with its 95 % interval.
        mode_share: share of responses in the fullest cell.
        active_pair_share: share of pairs whose two scores differ by a step or more.
        contribution_share: w sd(d) over the sum of it, d the signed score difference.
        flags: what a reader should know, see `encore_ray.composition.weigh.flags`.
        scale: the rule's declared scale; its levels restore float32 ratings, its ends map scores to [0, 1].
        veto: of a hard rule, see `encore_ray.composition.measure.vetoes`.
        points: prior factor, which the weight has in it but where the scheme learns from labels; None for 1.
    """

    name: str
    higher_is: HigherIs
    binning: Binning
    entropy: Entropy
    weight: float
    mode_share: float
    active_pair_share: float | None
    contribution_share: float | None
    wins: int | None
    ties: int | None
    losses: int | None
    accuracy: float | None
    flags: tuple[str, ...]
    scale: Scale
    veto: Veto | None = None
    points: float | None = None

    @property
    def polarity(self) -> int:
        """+1 if a higher score means a better response, else -1."""
        return 1 if self.higher_is == "better" else -1

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "higher_is": self.higher_is,
            "binning": self.binning.to_dict(),
            "entropy": self.entropy.value,
            "entropy_low": self.entropy.low,
            "entropy_high": self.entropy.high,
            "weight": self.weight,
            "mode_share": self.mode_share,
            "active_pair_share": self.active_pair_share,
            "contribution_share": self.contribution_share,
            "wins": self.wins,
            "ties": self.ties,
            "losses": self.losses,
            "accuracy": self.accuracy,
            "flags": list(self.flags),
            "scale": self.scale.to_dict(),
            **prior_keys(self.veto, self.points),
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "RuleWeight":
        """Inverse of `to_dict`; KeyError, TypeError or ValueError on anything else."""
        if value["higher_is"] not in ("better", "worse"):
            raise ValueError(f"higher_is must be better or worse, found {value['higher_is']!r}")
        scale, veto = Scale.parse(value["scale"]), None
        if "veto" in value:
            veto = Veto.parse(value["veto"], higher_is=value["higher_is"], scale=scale)
        return cls(
            name=value["name"],
            higher_is=value["higher_is"],
            binning=Binning.from_dict(value["binning"]),
            entropy=Entropy(value["entropy"], value["entropy_low"], value["entropy_high"]),
            weight=float(value["weight"]),
            mode_share=value["mode_share"],
            active_pair_share=value["active_pair_share"],
            contribution_share=value["contribution_share"],
            wins=value["wins"],
            ties=value["ties"],
            losses=value["losses"],
            accuracy=value["accuracy"],
            flags=tuple(value["flags"]),
            scale=scale,
            veto=veto,
            points=parse_points(value["points"]) if "points" in value else None,
        )


@dataclass(frozen=True, repr=False)
class Weights:
    """The weights of all rules, in rule order, and how they were made.

    Attributes:
        temperature: of scheme encore, else None.
        scheme_params: the scheme's other options.
        num_calibration_pairs: whose labels the weights were learned from; None for a scheme that uses no labels.
        score_range: "declared" and "raw" compose scores as they are, "unit" maps each rule's scale to [0, 1] first.
        min_active: rules active in a smaller share of pairs were dropped (weight 0); None if not asked for.
        clip: whether scores out of range were clipped for all rules.
        num_keys: distinct prompts (else groups, else pairs): the sample size of every interval of an accuracy.
        groups: each subset's entropies, {} without subsets, None when there were too many to count; with the subset's
            own weights where weighed by group.
        consensus: of the rules, where the scheme looks at it, or there is no label; else None.
        by_consensus: whether the scheme weighs by it.
        rated: whose entropies weigh, where it is not the scores'; else None.
    """

    scheme: str
    temperature: float | None
    scheme_params: dict[str, Any]
    num_calibration_pairs: int | None
    log_base: LogBase
    estimator: Estimator
    score_range: ScoreRange
    min_active: float | None
    clip: bool
    num_pairs: int
    num_responses: int
    num_keys: int
    counts_sha256: str
    rules: tuple[RuleWeight, ...]
    entropy_accuracy: Correlation
    warnings: tuple[str, ...]
    groups: dict[str, Any] | None
    consensus: ConsensusRecord | None = None
    by_consensus: bool = False
    rated: RatedRecord | None = None

    def __repr__(self) -> str:
        told = ", ".join(f"{rule.name} {rule.weight:.3g}" for rule in self.rules[:6])
        rules = "1 rule" if len(self.rules) == 1 else f"{len(self.rules)} rules"
        return f"<{self.scheme} weights of {rules}: {told}{' …' if len(self.rules) > 6 else ''}>"

    @property
    def names(self) -> list[str]:
        return [rule.name for rule in self.rules]

    @property
    def rule_set(self) -> RuleSet:
        """The rules as far as a composed reward depends on them, called by their names."""
        return RuleSet(Rule(rule.name, rule.name, rule.higher_is, rule.scale, veto=rule.veto) for rule in self.rules)

    @property
    def hard_rules(self) -> tuple[str, ...]:
        """Names of the rules that have a veto."""
        return hard_rules(self.rules)

    @property
    def width_K(self) -> tuple[float, ...]:
        """Width of each rule's range as it is weighed: 1 where scores are mapped to [0, 1], else its scale's."""
        return tuple(rule.scale.width / score_divisor(rule.scale, self.score_range) for rule in self.rules)

    @property
    def effective_num_rules(self) -> float:
        return effective_num_rules([rule.weight for rule in self.rules])

    @cached_property
    def group_weights(self) -> dict[str, list[float]]:
        """Each subset's own weights in rule order; {} where all pairs are composed under the same."""
        return {
            name: [float(group["weights"][rule]) for rule in self.names]
            for name, group in (self.groups or {}).items()
            if "weights" in group
        }

    def of_group(self, name: str) -> "Weights":
        """The weights that compose the rows of one subset of `group_weights`."""
        weight_K = self.group_weights[name]
        rules = tuple(replace(rule, weight=weight) for rule, weight in zip(self.rules, weight_K, strict=True))
        return replace(self, rules=rules, groups={})

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what decides a composed reward: names, directions, scales, weights, in order, and score_range.

        Weighed by group, also the weights of each; with hard rules, also their vetoes: a version that knows none then
        refuses the file.
        """
        rules = [[rule.name, rule.higher_is, rule.scale.to_dict(), rule.weight] for rule in self.rules]
        decisive = {"version": SCHEMA_VERSION, "score_range": self.score_range, "rules": rules}
        if by_group := self.group_weights:
            decisive["groups"] = by_group
        if self.hard_rules:
            decisive["vetoes"] = {rule.name: rule.veto.to_dict() for rule in self.rules if rule.veto}
        return fingerprint(decisive)

    @property
    def facts(self) -> dict[str, Any]:
        """What was asked for, whatever the scores: the same facts on more scores give other weights."""
        return {
            "scheme": self.scheme,
            "temperature": self.temperature,
            "log_base": self.log_base,
            **self._params,
            "rules": weighed_rules(self.rules),
            "bins": [[rule.binning.kind, rule.binning.num_cells] for rule in self.rules],
        }

    @property
    def _params(self) -> dict[str, Any]:
        return {
            "estimator": self.estimator,
            "score_range": self.score_range,
            "min_active": self.min_active,
            "clip": self.clip,
            **({"by_group": True} if self.group_weights else {}),
            **({"ratings": self.rated.table} if self.rated else {}),
            **self.scheme_params,
        }

    def to_dict(self) -> dict[str, Any]:
        """The content of weights.json.

        Weights by consensus name its fit beside the scheme, and its groups of near-duplicates under ``groups``; the
        entropies of subsets then stand under ``subsets``.
        """
        content = {
            "schema_version": SCHEMA_VERSION,
            "scheme": self.scheme,
            "params": self._params,
            "temperature": self.temperature,
            "log_base": self.log_base,
            "num_pairs": self.num_pairs,
            "num_responses": self.num_responses,
            "counts_sha256": self.counts_sha256,
            "effective_num_rules": self.effective_num_rules,
            "rules": [rule.to_dict() for rule in self.rules],
            "entropy_accuracy": self.entropy_accuracy.to_dict(),
            "warnings": list(self.warnings),
            "groups": self.groups,
            "num_keys": self.num_keys,
            "uses_labels": self.num_calibration_pairs is not None,
            "num_calibration_pairs": self.num_calibration_pairs,
            "fingerprint": self.fingerprint,
        }
        if self.rated is not None:
            content["ratings"] = self.rated.to_dict()
        if self.consensus is not None:
            content["consensus"] = self.consensus.to_dict()
        if self.consensus is not None and self.by_consensus:
            content |= {"subsets": self.groups} | {name: content["consensus"][name] for name in _FIT}
            for rule in content["rules"]:
                rule["loading"] = self.consensus.loadings[rule["name"]]
        return content

    @classmethod
    def from_dict(cls, value: dict[str, Any], *, where: str = "weights.json") -> "Weights":
        """Inverse of `to_dict`.

        Args:
            where: what to call the source in errors.

        Raises:
            DataError: another schema version, a missing or wrong key, or a fingerprint that does not fit the weights.
        """
        if not isinstance(value, dict) or value.get("schema_version") != SCHEMA_VERSION:
            found = value.get("schema_version") if isinstance(value, dict) else type(value).__name__
            raise DataError(
                f"{where}: expected weights of schema_version {SCHEMA_VERSION}, found {found}. "
                "Rerun `encore-ray weigh` with this version."
            )
        try:
            weights = cls._parse(value)
            actual = weights.fingerprint
        except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            what = f"key {error} is missing" if isinstance(error, KeyError) else str(error)
            raise DataError(f"{where} is not a whole weights file: {what}. Rerun `encore-ray weigh`.") from None
        if value.get("fingerprint") != actual:
            raise DataError(
                f"{where}: its rules and weights have fingerprint {actual[:12]}, it says "
                f"{str(value.get('fingerprint'))[:12]}: it was changed after `encore-ray weigh` wrote it. Rerun that."
            )
        return weights

    @classmethod
    def _parse(cls, value: dict[str, Any]) -> "Weights":
        params = value["params"]
        if params["score_range"] not in ("declared", "unit", "raw"):
            raise ValueError(f"score_range must be declared, unit or raw, found {params['score_range']!r}")
        return cls(
            scheme=value["scheme"],
            temperature=value["temperature"],
            scheme_params={key: param for key, param in params.items() if key not in _SHARED_PARAMS},
            num_calibration_pairs=value.get("num_calibration_pairs"),  # left out where no scheme uses labels
            log_base=value["log_base"],
            estimator=params["estimator"],
            score_range=params["score_range"],
            min_active=params["min_active"],
            clip=params["clip"],
            num_pairs=value["num_pairs"],
            num_responses=value["num_responses"],
            num_keys=value["num_keys"],
            counts_sha256=value["counts_sha256"],
            rules=tuple(RuleWeight.from_dict(rule) for rule in value["rules"]),
            entropy_accuracy=Correlation(**value["entropy_accuracy"]),
            warnings=tuple(value["warnings"]),
            groups=value["subsets"] if "subsets" in value else value["groups"],
            consensus=ConsensusRecord.from_dict(value["consensus"]) if value.get("consensus") else None,
            by_consensus="subsets" in value,
            rated=RatedRecord.from_dict(value["ratings"]) if value.get("ratings") else None,
        )
