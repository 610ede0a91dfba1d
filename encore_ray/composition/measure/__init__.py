"""Map-reduce statistics of scores: what is measured of a part of a corpus merges exactly with ``+``."""
