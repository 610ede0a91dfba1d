"""Score: every response of every unit under every rule, by whatever scorer the job has."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from encore_ray.composition.scales.binning import choose_binning
from encore_ray.composition.scales.fitting_scale import fitting_scale, scale_text
from encore_ray.composition.scales.missing_codes import codes_beyond, mend_codes
from encore_ray.folder.protocol.commits import Commit
from encore_ray.folder.protocol.versions import code_digest
from encore_ray.folder.spec import EMBED, SCORE
from encore_ray.passes.option_facts import table_digest
from encore_ray.passes.scorers.scorer import Scorer, fill_table
from encore_ray.passes.scorers.scoring_cost import ScoringCost
from encore_ray.rules import RuleSet
from encore_ray.run import Run
from encore_ray.schema import PAIRS_DIR, RULES_FILE
from encore_ray.step import Record, Step

logger = logging.getLogger("encore_ray")

# Units looked at before saying that scores leave their scale: enough to be typical, few enough to stop in time.
FIRST_UNITS = 4


@dataclass(frozen=True)
class Scored:
    """What a score pass made.

    Attributes:
        rules: that it scored by. tags: of the scorer, for the job's MLflow run.
        counts: rows, scored, quarantined, and those of the scorer.
    """

    rules: RuleSet
    tags: Mapping[str, str]
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Score(Step[Scored]):
    """Score all units of pairs/; resumable.

    Attributes:
        scorer: where scores come from; None will do where they stand.
        max_bad_fraction: share of pairs without finite scores past which the pass fails.
        chosen_by: what the scorer is chosen by, see `scorer_facts`; None where that is not known without it.

    Raises:
        ResumeRefused: the folder holds scores of another scorer, rule set or option.
    """

    spec = SCORE
    scorer: Scorer | None
    max_bad_fraction: float
    chosen_by: Mapping[str, Any] | None = None

    @property
    def paths(self) -> Sequence[str]:
        return self._scorer.paths

    def numbers(self, run: Run) -> int | None:
        return self._scorer.numbers(run)

    @property
    def called(self) -> str:
        return self.scorer.verb if self.scorer else self.spec.name

    @property
    def _scorer(self) -> Scorer:
        assert self.scorer is not None, "scores that do not stand have a scorer"
        return self.scorer

    def facts(self, run: Run) -> dict[str, Any] | None:
        if self.chosen_by is None:
            return None
        return {
            "chosen_by": self.chosen_by,
            "max_bad_fraction": self.max_bad_fraction,
            "pairs": table_digest(run.path(PAIRS_DIR)),
            "code": code_digest(),
        }

    def made_files(self, run: Run) -> Sequence[str]:
        embeddings = EMBED.end_files if (self.chosen_by or {}).get("keep_embeddings") else ()
        return [*self.spec.end_files, RULES_FILE, *embeddings]

    def kept(self, made: Scored) -> dict[str, Any]:
        return {"tags": dict(made.tags)}

    def standing(self, run: Run, kept: dict[str, Any]) -> Scored:
        rules = run.rules
        assert rules is not None, "they stand beside the scores"
        return Scored(rules, kept["tags"], run.table(SCORE).sealed_counts())

    def __call__(self, run: Run) -> Scored:
        first: list[Commit] = []

        def look(scorer: Scorer, num_units: int, commit: Commit) -> None:
            first.append(commit)
            if len(first) == min(FIRST_UNITS, num_units):
                for warning in range_warnings(scorer.rules, [commit.notes for commit in first]):
                    logger.warning("%s", warning)

        scorer, counts = fill_table(run, SCORE, self._scorer, max_bad_fraction=self.max_bad_fraction, on_commit=look)
        run.folder.write_atomic(RULES_FILE, scorer.rules.to_yaml().encode())
        return Scored(scorer.rules, scorer.tags, counts)

    def record(self, made: Scored) -> Record:
        cost = ScoringCost.of_counts(made.counts)
        shares = {"shared_tokens": cost.shared, "idle_share": cost.idle} if cost.tokens else {}
        return Record(
            metrics={**made.counts, **shares},
            step=made.counts["rows"],
            artifacts={RULES_FILE: made.rules.to_yaml().encode()},
            job_tags={**made.tags, "rules": made.rules.fingerprint[:16]},
        )


def range_warnings(rules: RuleSet, notes: list[Any]) -> list[str]:
    """A sentence for each rule whose scores leave its declared scale, with the line of rules.yaml that would fit."""
    warnings = []
    for k, rule in enumerate(rules):
        lows = [note["low"][k] for note in notes if note["low"][k] is not None]
        highs = [note["high"][k] for note in notes if note["high"][k] is not None]
        if rule.out_of_range == "clip" or not lows:
            continue
        low, high = min(lows), max(highs)
        if choose_binning(rule).outside(np.array([low, high])).any():
            codes, fitting = codes_beyond(rule.scale.lo, rule.scale.hi, (low, high)), fitting_scale(low, high)
            scale = f"`scale: {scale_text(fitting)}`, or wider, or " if fitting else ""
            clip = "`out_of_range: clip`, by which rewards are composed of such scores as they are"
            told = mend_codes(codes) if codes else f"In rules.yaml write {scale}{clip}"
            warnings.append(
                f"Rule {rule.name}: scores from {low:.6g} to {high:.6g} in the first units leave its scale of "
                f"{rule.scale.lo:g} to {rule.scale.hi:g}. {told}; the scores are kept, "
                "only weigh stops at them and tells the range of all."
            )
    return warnings
