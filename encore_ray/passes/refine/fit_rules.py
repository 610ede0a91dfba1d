"""Refine, fit, per rule: an energy for each rule's own scores, all over one embedding, each beside its controls.

An energy is trained on the pairs whose scores under its rule agree with the label, and evaluated as that of the
composed reward is: on the half of the held-out prompts that nothing was fitted to.
"""

from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from encore_ray.artifacts import RuleRefineReport
from encore_ray.composition.evaluate.controls import BASE, Control, compare_rewards
from encore_ray.composition.scales.ties import tie_tolerance
from encore_ray.engine.base import Send
from encore_ray.folder.reading.table_rules import table_rules
from encore_ray.folder.reading.tables import table_units
from encore_ray.folder.spec import FIT_RULES
from encore_ray.models.spec.energy import EnergySettings
from encore_ray.passes.refine.energies import RULE_ENERGIES, units_fingerprint
from encore_ray.passes.refine.fit_energies import TRAINING_FACTS, FitMessage, Trainer, Training, advice, supervise
from encore_ray.passes.refine.fit_reward import REFINED, REFIT
from encore_ray.passes.refine.rows import RefinedRows, heldout_rows, refit_rewards
from encore_ray.passes.refine.source import embedded_units, rule_heads
from encore_ray.rules import RuleSet
from encore_ray.run import Run
from encore_ray.schema import SCHEMA_VERSION, SCORES_DIR
from encore_ray.step import Record, Step
from encore_ray.storage import Folder

if TYPE_CHECKING:
    from encore_ray.models.energy.refiner import Refiner


@dataclass(frozen=True)
class FitRules(Step[RuleRefineReport]):
    """Fit an energy to the scores of each rule. See `fit_rules`.

    Attributes:
        cpus, gpus: that the worker holds.
    """

    spec = FIT_RULES
    settings: EnergySettings
    cpus: float | None = None
    gpus: float | None = None

    def __call__(self, run: Run) -> RuleRefineReport:
        trainer = Trainer(run.engine, self.cpus, self.gpus, run.watch, run.note)
        made = fit_rules(run.folder, rules=run.rules, settings=self.settings, trainer=trainer, overwrite=run.overwrite)
        return RuleRefineReport.of(made, where=run.path(RuleRefineReport.FILE))

    def record(self, made: RuleRefineReport) -> Record:
        return Record(params=vars(self.settings), metrics=made.figures(), artifacts={made.FILE: made.to_json()})


DIRECTIONS = "directions"  # key of what energies were made from: what each rule was taken for


def fit_rules(
    run: Folder,
    *,
    rules: RuleSet | None,
    settings: EnergySettings,
    trainer: Trainer,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Fit the energies of all rules at once, test them and write refine/rules/; returns the content of its report.

    Args:
        run: after `score`, with embeddings.
        rules: of the run as they are now; None for those that its scores carry.
        settings: of the training.
        trainer: where the fit runs.
        overwrite: replace energies that were fitted to something else.

    Raises:
        ResumeRefused: other energies are there. DataError: too few pairs, or none that agrees with its label.
    """
    rules = table_rules(table_units(run.child(SCORES_DIR).uri), rules)
    units = embedded_units(run, rule_heads(rules))
    facts = {
        "units": units_fingerprint(units),
        "settings": asdict(settings),
        DIRECTIONS: directions(rules),
    }
    standing = RULE_ENERGIES.standing_report(run, facts, overwrite=overwrite)
    if standing is not None:
        return standing
    training = Training(tuple(units), settings, "fit per rule", run.child(RULE_ENERGIES.training))
    refiner, heldout = supervise(trainer, partial(_fit_and_evaluate, training), training)
    report = _report(refiner, rules, heldout)
    RULE_ENERGIES.keep(run, refiner.with_facts({"made_from": facts}), report)
    trainer.note(report["verdict"])
    return report


def directions(rules: RuleSet) -> list[list[str]]:
    """What energies take rules for: their names in order, and what is better."""
    return [[rule.name, rule.higher_is] for rule in rules]


@dataclass(frozen=True, eq=False)
class _HeldoutPairs:
    """Held-out pairs under each of K rules.

    Attributes:
        margin_by_name: [N, K] each: chosen minus rejected, signed so that more is better.
        at_end_NK: bool, the energy of either response is highest at an end of its domain.
        test_N: bool, the half that tests. hash_N: of the keys.
    """

    margin_by_name: dict[str, np.ndarray]
    at_end_NK: np.ndarray
    test_N: np.ndarray
    hash_N: np.ndarray

    def controls(self, k: int, tolerance: float) -> list[Control]:
        """The rule's own scores, their plain refit and the refined ones, on the half that tests."""
        return compare_rewards(
            {name: margin_NK[self.test_N, k] for name, margin_NK in self.margin_by_name.items()},
            hash_N=self.hash_N[self.test_N],
            tolerance=tolerance,
        )


def _fit_and_evaluate(training: Training, send: Send) -> tuple["Refiner", _HeldoutPairs]:
    refiner, weight_KD = training.run(send)
    margins: dict[str, list[np.ndarray]] = {BASE: [], REFIT: [], REFINED: []}
    others: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for rows in heldout_rows(training.units):
        send(FitMessage())
        refined = RefinedRows.of(rows, refiner)
        found = {BASE: rows.r_N2K, REFIT: refit_rewards(rows, refiner, weight_KD), REFINED: refined.r_N2K}
        for name, r_N2K in found.items():
            margins[name].append(r_N2K[:, 0] - r_N2K[:, 1])
        others.append((np.any(refined.at_end_N2K, axis=1), rows.test_N, rows.hash_N))
    at_end_NK, test_N, hash_N = (np.concatenate(values) for values in zip(*others, strict=True))
    margin_by_name = {name: np.concatenate(parts) for name, parts in margins.items()}
    return refiner, _HeldoutPairs(margin_by_name, at_end_NK, test_N, hash_N)


def _report(refiner: "Refiner", rules: RuleSet, heldout: _HeldoutPairs) -> dict[str, Any]:
    facts = refiner.facts
    num_test = int(heldout.test_N.sum())
    found: list[dict[str, Any]] = []
    better, worse = 0, 0
    for k, rule in enumerate(rules):
        controls = heldout.controls(k, tie_tolerance(rule.scale.width))
        refined = next(control for control in controls if control.name == REFINED)
        better += refined.differs and refined.difference > 0
        worse += refined.differs and refined.difference < 0
        found.append(
            {
                "name": rule.name,
                "agreeing": facts["num_agreeing"][k],
                "at_end": float(heldout.at_end_NK[:, k].mean()),
                "controls": [control.to_dict() for control in controls],
            }
        )
    verdict = (
        f"On {num_test:,} held-out pairs refined scores agree with the labels significantly more often under {better} "
        f"of {len(rules)} rules, significantly less often under {worse}; by chance either happens to one rule in 40."
        f"{advice(facts)}"
    )
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": verdict,
        "pairs": {
            "trainable": facts["num_pairs"],
            "calibration": len(heldout.test_N) - num_test,
            "test": num_test,
        },
        "training": {key: facts[key] for key in TRAINING_FACTS},
        "rules": found,
    }
