"""Numerical self-check against transformers' own forward, on a few of the job's pairs, before the first unit."""

from dataclasses import replace

import numpy as np
import transformers
from torch._dynamo.exc import TorchDynamoException

from encore_ray.errors import EncoreError, ModelError
from encore_ray.models.forward.budget import is_out_of_memory
from encore_ray.models.forward.scorer import PairScorer
from encore_ray.models.text.conversations import TokenizedPairs

# Root mean square difference in standard deviations of the checked scores: far above what the order of sums does in
# each type, far below what a wrong mask or position does.
TOLERANCE_SD = {"float32": 1e-3, "float16": 0.05, "bfloat16": 0.1}

LEAST_DIFFERENT = 6  # texts that no model with trained heads scores all alike


def check_scorer(scorer: PairScorer, pairs: TokenizedPairs, *, name: str) -> float:
    """Compare a scorer with transformers' own attention on each sequence alone.

    Args:
        scorer: about to score the pairs.
        pairs: of a unit; the longest, the shortest, the first and the one in the middle are checked, and their first
            half and quarter.
        name: of the model, for the error.

    Returns:
        The difference of the middle rule, in standard deviations of the checked scores.

    Raises:
        ModelError: they differ by more than rounding explains, or the model gives no number, or the same to all; names
            the model.
    """
    if not len(pairs):
        return 0.0
    tokens_N = pairs.chosen_tokens + pairs.rejected_tokens
    few = pairs.take(sorted({0, len(pairs) // 2, int(tokens_N.argmax()), int(tokens_N.argmin())}))
    several = _with_beginnings(few)
    expected_SK = _by_transformers(scorer, several, name)
    dtype = str(scorer.model.dtype).removeprefix("torch.")
    if not np.isfinite(expected_SK).any():
        raise ModelError(
            f"{name}: the model gives no number of any of {len(few)} pairs of this job in {dtype}, one by one in "
            "transformers' own way. Its weights hold NaN or overflow: fetch or save it again, or score in the type it "
            "was trained in (score.dtype)."
        )
    read = [ids for side in (several.chosen_ids, several.rejected_ids) for ids in side if ids is not None]
    num_different = len({ids.tobytes() for ids in read})
    given_SK = expected_SK[~np.isnan(expected_SK).all(axis=1)]
    if num_different >= LEAST_DIFFERENT and (given_SK == given_SK[0]).all():
        raise ModelError(
            f"{name}: the model gives {num_different} different texts of this job the same scores, one by one in "
            "transformers' own way, as heads of zeros do. Give a checkpoint whose heads were trained."
        )
    if scorer.strategy == "one_by_one":
        return 0.0
    found_SK = _of_rules(scorer.score(several), scorer)
    difference_K = _differences(found_SK, expected_SK)
    # A mistake in attention moves all rules; one alone may have a tiny deviation of its own.
    difference = float(np.median(difference_K))
    if difference <= TOLERANCE_SD[dtype]:
        return difference
    rule = scorer.model.names[int(difference_K.argmax())]
    slower = "one_by_one" if scorer.strategy == "padded" else "padded"
    raise ModelError(
        f"{name}: strategy {scorer.strategy} does not give the scores that the model gives one by one. On {len(few)} "
        f"pairs of this job they differ by {difference:.3g} standard deviations ({TOLERANCE_SD[dtype]:g} are allowed "
        f"in {dtype}), most under rule {rule}. Score with strategy {slower}, and report the model's architecture."
    )


def _by_transformers(scorer: PairScorer, pairs: TokenizedPairs, name: str) -> np.ndarray:
    """Scores [S, K] of both sides of pairs by the model's own forward, one conversation at a time."""
    try:
        return _of_rules(PairScorer(scorer.model, strategy="one_by_one").score(pairs), scorer)
    except Exception as error:
        if isinstance(error, EncoreError | MemoryError | TorchDynamoException) or is_out_of_memory(error):
            raise
        said = " ".join(str(error).split())[:300]
        raise ModelError(
            f"{name}: the model cannot read this job's conversations in transformers' own way, one by one: "
            f"{type(error).__name__}: {said}. Its configuration does not fit its weights, or it needs another version "
            f"of transformers than {transformers.__version__}."
        ) from error


def _of_rules(scores_N2K: np.ndarray, scorer: PairScorer) -> np.ndarray:
    return scores_N2K[:, :, : len(scorer.model.names)].reshape(2 * len(scores_N2K), -1).astype(np.float64)


def _with_beginnings(pairs: TokenizedPairs) -> TokenizedPairs:
    """Each pair, the first half and the first quarter of it: even one response then has scores that deviate."""

    def beginnings(side: list[np.ndarray]) -> list[np.ndarray]:
        return [ids[: -(-len(ids) // part)] for part in (1, 2, 4) for ids in side]

    rejected = [np.empty(0) if ids is None else ids for ids in pairs.rejected_ids]
    return replace(
        pairs.take([*range(len(pairs))] * 3),
        chosen_ids=beginnings(pairs.chosen_ids),
        rejected_ids=[ids if len(ids) else None for ids in beginnings(rejected)],
    )


def _differences(found_SK: np.ndarray, expected_SK: np.ndarray) -> np.ndarray:
    """Root mean square difference of each rule [K] in standard deviations; inf where only one side is finite."""
    present_S = ~np.isnan(expected_SK).all(axis=1)
    found_SK, expected_SK = found_SK[present_S], expected_SK[present_S]
    finite_SK = np.isfinite(expected_SK)
    if not np.array_equal(finite_SK, np.isfinite(found_SK)):
        return np.full(expected_SK.shape[1], np.inf)
    found_SK, expected_SK = (np.where(finite_SK, scores_SK, 0.0) for scores_SK in (found_SK, expected_SK))
    # A score of 5 that never deviates has float32 noise of 5e-7; no tolerance reaches below that.
    scale_K = np.maximum(expected_SK.std(axis=0), 1e-3 * np.abs(expected_SK).max(axis=0, initial=1e-30))
    return np.sqrt(((found_SK - expected_SK) ** 2).mean(axis=0)) / scale_K
