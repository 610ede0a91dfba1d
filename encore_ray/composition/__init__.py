"""The arithmetic of ENCORE in numpy: histograms, entropies, weights, rewards, agreement.

Nothing here reads a file, a clock or a configuration. Statistics of parts of a corpus are frozen objects that merge
with ``+``, exactly and in any order, so a corpus may be cut and shuffled without moving a bit of any result.

Axes: N rows (a pair or a single response), R responses, K rules, L histogram cells.
"""
