"""How long tests wait for what comes: a wait ends as soon as it is there; only what hangs takes so long."""

PATIENCE_S = 500.0  # under pytest's own limit for a test, which says less
