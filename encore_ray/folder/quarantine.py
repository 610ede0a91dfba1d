"""Quarantine: how many rows of a pass may be in it before the pass fails."""

from collections.abc import Mapping

from encore_ray.errors import DataError
from encore_ray.folder.pass_table import PassTable
from encore_ray.schema import REASON_COUNT


def check_bad_fraction(counts: Mapping[str, int], max_bad_fraction: float, table: PassTable) -> None:
    """Raise DataError with a table of reasons when more rows than allowed are in quarantine.

    Args:
        counts: totals of the pass: rows, quarantined, and reason.<reason>.
        max_bad_fraction: allowed share of quarantined rows, in [0, 1].
        table: the pass, for the place of its quarantine.
    """
    num_rows, num_bad = counts["rows"], counts["quarantined"]
    if num_bad <= max_bad_fraction * num_rows:
        return
    reasons = {key.removeprefix(REASON_COUNT): n for key, n in counts.items() if key.startswith(REASON_COUNT)}
    width = max(map(len, reasons), default=0)
    lines = [
        f"  {reason:<{width}}  {count:>9,}" for reason, count in sorted(reasons.items(), key=lambda item: -item[1])
    ]
    raise DataError(
        f"{num_bad:,} of {num_rows:,} rows ({num_bad / num_rows:.2%}) are in quarantine, more than max_bad_fraction "
        f"allows ({max_bad_fraction:.2%}):\n" + "\n".join(lines) + f"\nThey are in "
        f"{table.quarantine_folder.path(table.name)} with source, line, reason and raw row. Mend the input, or raise "
        "max_bad_fraction; what is done so far is kept."
    )
