"""Held-out figures from counts: those of the rows, with intervals that widen as prompts get fewer."""

import numpy as np
import pytest

from encore_ray.composition.hashing.keys import hash_keys
from encore_ray.composition.heads.heldout import HeldoutSums, PredictionCells, measure_auc, measure_r2

N = 600


def rows() -> tuple[np.ndarray, np.ndarray]:
    """Predictions of two rules, one of yes/no labels and one of ratings that lacks a half of them."""
    rng = np.random.default_rng(1)
    z_NK = rng.normal(size=(N, 2))
    label_NK = np.column_stack([z_NK[:, 0] + rng.normal(size=N) > 0.5, 2 * z_NK[:, 1] + rng.normal(size=N)])
    label_NK[::2, 1] = np.nan
    return z_NK, label_NK


def measured(z_NK: np.ndarray, label_NK: np.ndarray, keys: list[str], **values: np.ndarray) -> HeldoutSums:
    cells = [PredictionCells.around(num=len(z_N), total=z_N.sum(), square=(z_N**2).sum()) for z_N in z_NK.T]
    return HeldoutSums.of(
        z_NK, values.get("value_NK", z_NK), label_NK, cells=cells, thresholds=[0.5, None], hash_N=hash_keys(keys)
    )


KEYS = [f"prompt {i}" for i in range(N)]


def test_auc_and_r2_are_those_of_the_rows() -> None:
    z_NK, label_NK = rows()
    sums = measured(z_NK, label_NK, KEYS)
    yes, no = z_NK[label_NK[:, 0] == 1, 0], z_NK[label_NK[:, 0] == 0, 0]
    auc = measure_auc(sums, 0)
    assert auc.value == pytest.approx((yes[:, None] > no).mean(), abs=2e-4)  # cells make ties
    label_N, z_N = label_NK[1::2, 1], z_NK[1::2, 1]
    r2 = measure_r2(sums, 1)
    assert r2.value == pytest.approx(1 - ((label_N - z_N) ** 2).sum() / ((label_N - label_N.mean()) ** 2).sum())
    for figure in (auc, r2):
        assert figure.interval is not None
        assert figure.interval.low < figure.value < figure.interval.high


def test_parts_add_up_to_the_whole() -> None:
    z_NK, label_NK = rows()
    whole = measured(z_NK, label_NK, KEYS)
    cells = [PredictionCells.around(num=N, total=z_N.sum(), square=(z_N**2).sum()) for z_N in z_NK.T]
    parts = [
        HeldoutSums.of(z_NK[p], z_NK[p], label_NK[p], cells=cells, thresholds=[0.5, None], hash_N=hash_keys(KEYS[p]))
        for p in (slice(0, 7), slice(7, N))
    ]
    both = parts[0] + parts[1]
    np.testing.assert_array_equal(both.count_KJYC, whole.count_KJYC)
    np.testing.assert_allclose(both.moment_KJ4, whole.moment_KJ4)


def test_rows_of_one_prompt_count_as_one() -> None:
    z_NK, label_NK = rows()
    apart = measure_auc(measured(z_NK, label_NK, KEYS), 0).interval
    together = measure_auc(measured(np.repeat(z_NK, 4, 0), np.repeat(label_NK, 4, 0), np.repeat(KEYS, 4).tolist()), 0)
    assert apart is not None and together.interval is not None
    # Four copies of each row are no more evidence than one.
    assert together.interval.high - together.interval.low == pytest.approx(apart.high - apart.low, rel=1e-6)


def test_what_cannot_be_known_is_none() -> None:
    z_NK, label_NK = rows()
    label_NK[:, 0] = 1.0  # never a no
    label_NK[:, 1] = 3.0  # never another rating
    sums = measured(z_NK, label_NK, KEYS)
    assert measure_auc(sums, 0).value is None
    assert measure_r2(sums, 1).value is None
    assert measure_auc(sums, 1).value is None  # a rating is no yes


def test_predictions_that_are_all_the_same_tell_nothing() -> None:
    _, label_NK = rows()
    sums = measured(np.zeros((N, 2)), label_NK, KEYS)
    assert measure_auc(sums, 0).value == 0.5
