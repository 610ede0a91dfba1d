"""The weights that a table of rewards was composed by: a copy of weights.json stands beside it."""

from encore_ray.artifacts import read_weights
from encore_ray.composition.weigh.weights import Weights
from encore_ray.errors import DataError
from encore_ray.folder.pass_table import PassTable
from encore_ray.folder.spec import COMPOSE
from encore_ray.schema import PLAN_FILE, WEIGHTS_FILE
from encore_ray.storage import Folder


def composed_weights(rewards: Folder) -> Weights:
    """The weights beside rewards; of a table with a plan, those of its plan.

    Raises:
        DataError: they are missing, damaged, or not those that the rewards were composed by.
    """
    weights = read_weights(rewards)
    composed = (PassTable(rewards, rewards, COMPOSE.name).standing_facts() or {}).get("weights", weights.fingerprint)
    if composed != weights.fingerprint:
        raise DataError(
            f"{rewards.path(WEIGHTS_FILE)} is not of these rewards: it has the fingerprint {weights.fingerprint[:12]}, "
            f"{PLAN_FILE} says {str(composed)[:12]}. Compose again, by the same command: what stands is not done anew."
        )
    return weights
