"""How energies (EBRM) are trained, and how far a training is."""

from dataclasses import dataclass

NUM_GRID = 41  # rewards at which an energy is tried


@dataclass(frozen=True)
class EnergySettings:
    """How energies are trained; the defaults are the numbers of the official code.

    Attributes:
        sigma: of the negatives, in standard deviations of the reward. The official code scales rewards to a standard
            deviation of 4 before: its 3.5 is .875 of one, and negatives here lie four times as far apart.
        beta: the positive's noise is beta * sigma.
        num_negatives: M. num_strata: that they are drawn as where they are more, even: see `energy/noise.py`.
        regularisation: lambda, on the mean squared energy.
        learning_rate, weight_decay: of AdamW.
        batch_responses: both sides of half as many pairs.
        epochs: at most.
        patience: epochs without a lower held-out loss before the fit ends.
        seed: of weights, order, noise and dropout.
    """

    sigma: float = 3.5
    beta: float = 0.1
    num_negatives: int = 768
    num_strata: int = 64
    regularisation: float = 0.05
    learning_rate: float = 9e-5
    weight_decay: float = 1e-2
    batch_responses: int = 256
    epochs: int = 5
    patience: int = 2
    seed: int = 0


@dataclass(frozen=True)
class FitProgress:
    """How far a fit is.

    Attributes:
        pairs: that went through, each in every epoch. total_pairs: in all epochs that are allowed.
        epochs: that are over.
    """

    pairs: int
    total_pairs: int
    epochs: int
