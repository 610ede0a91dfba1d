"""SplitMix64: a cheap mixing of 64-bit numbers, the same on every machine.

Source: splitmix64 of Steele, Lea and Flood, OOPSLA 2014.
"""

import numpy as np
from numpy.typing import NDArray

GAMMA = np.uint64(0x9E3779B97F4A7C15)  # what its generator adds for each further number


def mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The generator's next number from each state, of any shape: every bit depends on all bits of the state."""
    state = state + GAMMA
    state ^= state >> np.uint64(30)
    state *= np.uint64(0xBF58476D1CE4E5B9)
    state ^= state >> np.uint64(27)
    state *= np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return state
