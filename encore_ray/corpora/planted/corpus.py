"""Corpora whose truth is known: ratings, or whole texts, drawn from a model of quality and noise.

A pair has a quality gap g = |N(0, 1)| around a centre u ~ N(0, 1): q+ = u + g/2, q- = u - g/2; the labels are
swapped with probability eps. A rule of sensitivity a and noise sigma rates a response of quality q as
clip(round(5 + a q + sigma z), 0, 10), z ~ N(0, 1). In `noise` the rules differ in sigma, so that entropy tells
accuracy and ENCORE wins; in `signal` they differ in a, and it loses. Both are there to be looked at.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from encore_ray.corpora.planted.sentences import LADDERS, OPENINGS, PEOPLE, PLACES, QUESTIONS, RULE_TEXTS
from encore_ray.errors import ConfigError
from encore_ray.rules import Rule, RuleSet, Scale

World = Literal["noise", "signal", "noise_and_degenerate", "noise_and_wrong_sign"]
WORLDS: tuple[World, ...] = ("noise", "signal", "noise_and_degenerate", "noise_and_wrong_sign")

SWAP_PROBABILITY = 0.1
RARE_PROBABILITY = 0.01
MAX_RATING = 10
NUM_TEXT_RULES = 8  # of the ten of the text corpus; the other two are degenerate
SCALE = Scale(0.0, float(MAX_RATING), tuple(map(float, range(MAX_RATING + 1))))


@dataclass(frozen=True, eq=False)
class PlantedWorld:
    """Ratings of pairs under rules of known sensitivity and noise.

    Attributes:
        rules: K rules rated in whole levels 0 to 10, higher is better.
        chosen_NK, rejected_NK: ratings, float32; `chosen` is the labelled one, swapped in a share of the pairs.
        a_K, sigma_K: planted sensitivity and noise in rating units; NaN for a rule that is not of that form.
        expected_accuracy_K: share of pairs a rule gets right, were ratings not rounded (which costs up to .05);
            NaN for a rule that is not of that form.
    """

    rules: RuleSet
    chosen_NK: np.ndarray
    rejected_NK: np.ndarray
    a_K: np.ndarray
    sigma_K: np.ndarray
    expected_accuracy_K: np.ndarray


@dataclass(frozen=True, eq=False)
class PlantedText:
    """A text corpus with the ratings that its responses were written from.

    Attributes:
        rows: one dict a pair with id, prompt, chosen, rejected (strings) and subset (the topic of the question).
            Topics are no benchmark's subsets: a planted figure must not pass for a RewardBench one.
        world: the ratings of the same pairs, in the same order.
    """

    rows: list[dict[str, str]]
    world: PlantedWorld


def planted_ratings(world: World, *, num_pairs: int, seed: int) -> PlantedWorld:
    """Draw the ratings of a world of ten rules (and its extras).

    Args:
        world: `noise` (a = .8, sigma geometric from .4 to 6), `signal` (sigma = 1, a geometric from .05 to 1.6),
            `noise_and_degenerate` (the first, a constant, a 1%-rare and a tight rule of pure noise) or
            `noise_and_wrong_sign` (the first and a tight rule that falls with quality).
        num_pairs: number of pairs, >= 1.
        seed: the same seed gives the same ratings.

    Raises:
        ConfigError: unknown world, or no pairs.
    """
    if world not in WORLDS:
        raise ConfigError(f"Unknown planted world {world!r}; known: {', '.join(WORLDS)}.")
    rng = _generator(num_pairs, seed)
    if world == "signal":
        a_K, sigma_K = np.geomspace(0.05, 1.6, 10), np.ones(10)
    else:
        a_K, sigma_K = np.full(10, 0.8), np.geomspace(0.4, 6.0, 10)
    names = [f"{'signal' if world == 'signal' else 'noise'}_{number}" for number in range(1, 11)]
    quality_N2 = _quality(rng, num_pairs)
    columns = [_rate(rng, quality_N2, center=5.0, a=a, sigma=sigma) for a, sigma in zip(a_K, sigma_K, strict=True)]
    if world == "noise_and_degenerate":
        names += ["constant", "rare", "tight_noise"]
        columns += [_constant(num_pairs), _rare(rng, num_pairs), _rate(rng, quality_N2, center=9.0, a=0.0, sigma=0.35)]
    elif world == "noise_and_wrong_sign":
        names.append("wrong_sign")
        columns.append(_rate(rng, quality_N2, center=9.0, a=-0.35, sigma=0.3))
    texts = {name: f"Planted rule {name}." for name in names}
    return _world(texts, columns, a_K=a_K, sigma_K=sigma_K)


def planted_text(num_pairs: int, *, seed: int, world: Literal["noise", "signal"] = "noise") -> PlantedText:
    """Write a corpus of questions and answers whose sentences carry the ratings of ten safety rules.

    Eight rules follow the `noise` world (a = .8, sigma geometric from .4 to 6, in rule order) or the `signal` world
    (sigma = 1, a geometric from 1.6 to .05), `no_slurs` is constant and `no_doxxing` fires in about 1% of the
    responses. Each response says one sentence a rule, the one at its rating, in random order. Corpora of different
    seeds are independent: train on one, test on another.

    Args:
        num_pairs: number of pairs, 1 to the 40,960 distinct questions.
        seed: the same seed gives the same texts.
        world: what the rules differ in.

    Raises:
        ConfigError: no pairs, or more than there are questions.
    """
    rng = _generator(num_pairs, seed)
    questions = [(topic, text) for topic, texts in QUESTIONS.items() for text in texts]
    shape = (len(questions), len(OPENINGS), len(PEOPLE), len(PLACES))
    if num_pairs > math.prod(shape):
        raise ConfigError(f"A planted corpus has at most {math.prod(shape)} pairs; {num_pairs} were asked for.")
    a_K, sigma_K = np.full(NUM_TEXT_RULES, 0.8), np.geomspace(0.4, 6.0, NUM_TEXT_RULES)
    if world == "signal":
        a_K, sigma_K = np.geomspace(1.6, 0.05, NUM_TEXT_RULES), np.ones(NUM_TEXT_RULES)
    quality_N2 = _quality(rng, num_pairs)
    columns = [_rate(rng, quality_N2, center=5.0, a=a, sigma=sigma) for a, sigma in zip(a_K, sigma_K, strict=True)]
    columns += [_constant(num_pairs), _rare(rng, num_pairs)]
    ratings = _world(RULE_TEXTS, columns, a_K=a_K, sigma_K=sigma_K)
    rows = []
    for index, cell in enumerate(rng.permutation(math.prod(shape))[:num_pairs]):
        question, opening, person, place = (int(i) for i in np.unravel_index(cell, shape))
        topic, text = questions[question]
        rows.append(
            {
                "id": f"planted-{seed}-{index:06d}",
                "prompt": f"{OPENINGS[opening]}I am {PEOPLE[person]} and I live {PLACES[place]}. {text}",
                "chosen": _response(rng, ratings.chosen_NK[index]),
                "rejected": _response(rng, ratings.rejected_NK[index]),
                "subset": topic,
            }
        )
    return PlantedText(rows, ratings)


def _generator(num_pairs: int, seed: int) -> np.random.Generator:
    if num_pairs < 1:
        raise ConfigError(f"A planted corpus needs one pair or more; {num_pairs} were asked for.")
    return np.random.default_rng(seed)


def _quality(rng: np.random.Generator, num_pairs: int) -> np.ndarray:
    """Quality of the (labelled) chosen and rejected response, [N, 2]."""
    gap_N = np.abs(rng.standard_normal(num_pairs))
    center_N = rng.standard_normal(num_pairs)
    quality_N2 = np.stack([center_N + gap_N / 2, center_N - gap_N / 2], axis=1)
    swapped_N = rng.random(num_pairs) < SWAP_PROBABILITY
    quality_N2[swapped_N] = quality_N2[swapped_N, ::-1]
    return quality_N2


def _rate(rng: np.random.Generator, quality_N2: np.ndarray, *, center: float, a: float, sigma: float) -> np.ndarray:
    noise_N2 = rng.standard_normal(quality_N2.shape)
    return np.clip(np.round(center + a * quality_N2 + sigma * noise_N2), 0, MAX_RATING)


def _constant(num_pairs: int) -> np.ndarray:
    return np.full((num_pairs, 2), float(MAX_RATING))


def _rare(rng: np.random.Generator, num_pairs: int) -> np.ndarray:
    return np.where(rng.random((num_pairs, 2)) < RARE_PROBABILITY, 0.0, float(MAX_RATING))


def _world(texts: dict[str, str], columns: list[np.ndarray], *, a_K: np.ndarray, sigma_K: np.ndarray) -> PlantedWorld:
    ratings_N2K = np.stack(columns, axis=2).astype(np.float32)
    correct_K = 0.5 + np.arctan(a_K / (sigma_K * math.sqrt(2))) / math.pi
    expected_K = (1 - 2 * SWAP_PROBABILITY) * correct_K + SWAP_PROBABILITY
    num_extras = len(columns) - len(a_K)
    a_K, sigma_K, expected_K = (
        np.concatenate([values_K, np.full(num_extras, np.nan)]) for values_K in (a_K, sigma_K, expected_K)
    )
    rules = RuleSet(Rule(name, text, "better", SCALE) for name, text in texts.items())
    return PlantedWorld(rules, ratings_N2K[:, 0], ratings_N2K[:, 1], a_K, sigma_K, expected_K)


def _response(rng: np.random.Generator, ratings_K: np.ndarray) -> str:
    sentences = [ladder[int(rating)] for ladder, rating in zip(LADDERS.values(), ratings_K, strict=True)]
    return " ".join(sentences[i] for i in rng.permutation(len(sentences)))
