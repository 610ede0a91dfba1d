"""The composer as MLflow runs it: scores of a table's rows in, rewards out; MLflow copies this file into the model.

The table has a column `chosen__<rule>` a rule, and may have `rejected__<rule>` (missing or NaN where there is no
rejected response): rewards of both and the margin come out. Or it has a column `<rule>` a rule, scores of single
responses: `reward` comes out. Weights by group also need the column `subset`, null where a row has none. Weights with
hard rules also give the names of those that each response breaks, `chosen_vetoes` and `rejected_vetoes`, or `vetoes`:
a response that breaks any loses to one that breaks none, and a pair that is decided so has no margin.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from encore_ray.composition.weigh.groups import compose_by_group
from encore_ray.composition.weigh.rewards import ComposedRewards, compose
from encore_ray.composition.weigh.weights import Weights
from encore_ray.schema import (
    CHOSEN_REWARD,
    CHOSEN_VETOES,
    MARGIN,
    REJECTED_REWARD,
    REJECTED_VETOES,
    SUBSET,
    chosen_column,
    rejected_column,
)


class Composer(PythonModel):
    """Composes rewards with the weights saved beside it."""

    def load_context(self, context: Any) -> None:
        self._weights = Weights.from_dict(json.loads(Path(context.artifacts["weights"]).read_text(encoding="utf-8")))

    def predict(  # pyright: ignore[reportIncompatibleMethodOverride] - mlflow declares no return value
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        names = [rule.name for rule in self._weights.rules]
        single = all(name in model_input for name in names)
        chosen_KN = _scores(model_input, names if single else [chosen_column(name) for name in names])
        rejected_columns = [rejected_column(name) for name in names]
        if single or not any(column in model_input for column in rejected_columns):
            rejected_KN = np.full_like(chosen_KN, np.nan)
        else:
            rejected_KN = _scores(model_input, rejected_columns)
        rewards = self._compose(chosen_KN, rejected_KN, model_input)
        broken = rewards.broken
        if single:
            columns = {"reward": rewards.chosen_N} | ({"vetoes": broken.listed[0]} if broken else {})
            return pd.DataFrame(columns, index=model_input.index)
        columns = {CHOSEN_REWARD: rewards.chosen_N, REJECTED_REWARD: rewards.rejected_N, MARGIN: rewards.margin_N}
        if broken:
            columns |= dict(zip((CHOSEN_VETOES, REJECTED_VETOES), broken.listed, strict=True))
        return pd.DataFrame(columns, index=model_input.index)

    def _compose(self, chosen_KN: np.ndarray, rejected_KN: np.ndarray, table: pd.DataFrame) -> ComposedRewards:
        if not self._weights.group_weights:
            return compose(chosen_KN, rejected_KN, weights=self._weights)
        if SUBSET not in table:
            raise ValueError(
                f"These weights differ by subset, and the scores lack the column {SUBSET}: name each row's subset "
                "there; null for a row without one, which gets the weights of all."
            )
        subsets = [None if pd.isna(name) else str(name) for name in table[SUBSET]]
        return compose_by_group(
            chosen_KN,
            rejected_KN,
            weights=self._weights,
            subsets=subsets,
            has_rejected_N=~np.isnan(rejected_KN).all(axis=0),
        ).rewards


def _scores(table: pd.DataFrame, columns: list[str]) -> np.ndarray:
    missing = [column for column in columns if column not in table]
    if missing:
        raise ValueError(
            f"The scores lack the columns {', '.join(missing)}; expected for every rule chosen__<rule> (and "
            f"rejected__<rule>), or <rule>; found {', '.join(map(str, table.columns))}."
        )
    return np.stack([table[column].to_numpy(dtype=np.float64, na_value=np.nan) for column in columns])


set_model(Composer())
