"""The energies of a run: kept in it after they were fitted, found there by later commands."""

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from encore_ray.config import RefineOptions
from encore_ray.errors import ConfigError, DataError, ModelError
from encore_ray.folder.pass_table import pass_table
from encore_ray.folder.provenance import is_same
from encore_ray.folder.spec import REFINE, REFINE_SCORES, Pass
from encore_ray.models.spec.energy import EnergySettings
from encore_ray.passes.refine.source import EmbeddedUnit
from encore_ray.schema import (
    ENERGY_FILE,
    ENERGY_TENSORS_FILE,
    ENERGY_TRAINING_DIR,
    REFINE_REPORT_FILE,
    RULE_ENERGY_FILE,
    RULE_ENERGY_TENSORS_FILE,
    RULE_ENERGY_TRAINING_DIR,
    RULE_REFINE_REPORT_FILE,
)
from encore_ray.storage import Folder, content_digest, fingerprint

if TYPE_CHECKING:
    from encore_ray.models.energy.refiner import Refiner

logger = logging.getLogger("encore_ray")


@dataclass(frozen=True)
class EnergyFiles:
    """Where fitted energies are kept in a run.

    Attributes:
        tensors, description: of the energies. report: of their fit.
        training: folder for what a fit needs to go on, until it is over.
        refines: pass whose table they make.
    """

    tensors: str
    description: str
    report: str
    training: str
    refines: Pass

    def fitted(self, run: Folder) -> bool:
        """Whether they are there."""
        return run.exists(self.description)

    def load(self, run: Folder) -> "Refiner":
        """The fitted energies; ModelError where they are damaged."""
        from encore_ray.models.energy.refiner import Refiner

        tensors, description = self._read(run)
        return Refiner.from_files(tensors, description, where=run.path(self.description))

    def digests(self, run: Folder) -> list[str]:
        """What tells these energies from any other; ModelError where some are missing."""
        return [content_digest(data) for data in self._read(run)]

    def _read(self, run: Folder) -> list[bytes]:
        try:
            return [run.read_bytes(name) for name in (self.tensors, self.description)]
        except FileNotFoundError as error:
            raise ModelError(
                f"Of {run.path(self.tensors)} and {run.path(self.description)} one is not there ({error}): fit the "
                "energies again by `encore-ray refine fit --overwrite`."
            ) from None

    def facts(self, run: Folder) -> dict[str, Any]:
        """The facts that the energies were fitted to; nothing where their description is damaged."""
        with contextlib.suppress(DataError):
            found = run.read_json(self.description)
            facts = found.get("made_from") if isinstance(found, dict) else None
            return facts if isinstance(facts, dict) else {}
        return {}

    def warn_if_other(self, run: Folder, units: Sequence[EmbeddedUnit]) -> None:
        """Say so where the energies were fitted to other units than these, as before inputs or weights changed."""
        if self.facts(run).get("units") != units_fingerprint(units):
            logger.warning(
                "%s was fitted to other rows than are refined now. Fit the energies again by `encore-ray refine fit "
                "--overwrite`, unless that is meant.",
                run.path(self.description),
            )

    def standing_report(self, run: Folder, facts: Mapping[str, Any], *, overwrite: bool) -> dict[str, Any] | None:
        """The report of energies that were fitted to the same facts; None where there are none, or none any more.

        A report is gone once a pass changes what it is of; the fit makes it anew, and so it does damaged energies.
        Energies of other facts stay until new ones are kept.

        Raises:
            ResumeRefused: energies of other facts are there, and `overwrite` is not set.
        """
        if not self.fitted(run):
            return None
        if is_same(run.path(self.description), self.facts(run), facts, overwrite=overwrite):
            with contextlib.suppress(DataError, ModelError):
                self.load(run)
                return run.read_json(self.report)
        return None

    def keep(self, run: Folder, refiner: "Refiner", report: Mapping[str, Any]) -> None:
        """Replace energies and report, the description last: where it is, all is.

        What others refined, and what the fit needed to go on, goes.
        """
        tensors, description = refiner.to_files()
        run.delete(self.description)
        pass_table(run, self.refines).outdate()
        run.write_atomic(self.tensors, tensors)
        run.write_json(self.report, report)
        run.write_atomic(self.description, description)
        run.child(self.training).delete_tree()


REWARD_ENERGY = EnergyFiles(
    ENERGY_TENSORS_FILE,
    ENERGY_FILE,
    REFINE_REPORT_FILE,
    ENERGY_TRAINING_DIR,
    refines=REFINE,
)
RULE_ENERGIES = EnergyFiles(
    RULE_ENERGY_TENSORS_FILE,
    RULE_ENERGY_FILE,
    RULE_REFINE_REPORT_FILE,
    RULE_ENERGY_TRAINING_DIR,
    refines=REFINE_SCORES,
)


def energy_settings(options: RefineOptions) -> EnergySettings:
    """How energies are trained under a section of the configuration: options that are called alike, and negatives.

    The other settings are no options. `models` knows no configuration, so that this is where the two meet.
    """
    names = {field.name for field in fields(EnergySettings)} & RefineOptions.model_fields.keys()
    return EnergySettings(num_negatives=options.negatives, **{name: getattr(options, name) for name in names})


def fitted_energies(run: Folder) -> list[EnergyFiles]:
    """Those that a run has; ConfigError where it has none."""
    found = [files for files in (REWARD_ENERGY, RULE_ENERGIES) if files.fitted(run)]
    if not found:
        raise ConfigError(f"{run.path(ENERGY_FILE)} is not there: run `encore-ray refine fit` first.")
    return found


def units_fingerprint(units: Sequence[EmbeddedUnit]) -> str:
    """Of the units that energies are fitted to."""
    return fingerprint([[unit.table.unit, unit.digest] for unit in units])
