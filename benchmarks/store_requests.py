"""python benchmarks/store_requests.py --json requests.json

Requests to an object store that a job makes for each unit: the whole job on ratings, its run folder in a store that
speaks S3, with two numbers of units; the difference between both is what further units cost. `again` is the same
command on the finished run, `resumed` on a run whose seals were deleted, so that it looks for every commit.

Requests are counted by what a store charges for: writes (PUT, POST, LIST) and reads (GET, HEAD); DELETE is free. The
price is S3's list price for its standard class in us-east-1: .005 dollars a thousand writes, .0004 a thousand reads.
"""

import argparse
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.prepare import NUM_RULES, write_rated
from benchmarks.scale import write_rules
from benchmarks.tables import machine, show, write_json
from encore_ray.config import JobConfig
from encore_ray.job import run_job
from tests.object_store import Store, fault_proxy, store_server

BUCKET = "encore"
UNIT_PAIRS = 32
COMMANDS = ("job", "again", "resumed")
DOLLARS = {"write": 5e-6, "read": 4e-7, "delete": 0.0}
KINDS = {"PUT": "write", "POST": "write", "LIST": "write", "GET": "read", "HEAD": "read", "DELETE": "delete"}

Counts = Counter[tuple[str, str]]


class Counting:
    """A plan of faults that fails nothing and counts requests by folder of the run and kind."""

    def __init__(self) -> None:
        self.counts: Counts = Counter()

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        query = parse_qs(parts.query)
        listed = "list-type" in query
        key = query.get("prefix", [""])[0] if listed else parts.path.removeprefix(f"/{BUCKET}/")
        (folder, *below) = re.sub(r"^run[^/]*/?", "", key).split("/")
        self.counts[folder if below else "(run)", KINDS["LIST" if listed else request.command]] += 1


def count_job(store: Store, plan: Counting, folder: Path, num_units: int) -> dict[str, Counts]:
    """Requests of a job of so many units, of the same again, and of one whose passes are sealed anew."""
    corpus, rules, run = folder / f"{num_units}.parquet", folder / "rules.yaml", f"run{num_units}"
    write_rated(corpus, num_units * UNIT_PAIRS)
    write_rules(rules)
    config = JobConfig.model_validate(
        {
            "inputs": [str(corpus)],
            "rules": str(rules),
            "run": f"s3://{BUCKET}/{run}",
            "prepare": {"unit_pairs": UNIT_PAIRS},
            "cluster": {"engine": "local"},
            "tracking": {"enabled": False},
        }
    )
    counts = {}
    for name in COMMANDS:
        if name == "resumed":
            for key in [key for key in store.objects(BUCKET, f"{run}/") if key.endswith("/_SUCCESS")]:
                store.client.delete_object(Bucket=BUCKET, Key=key)
        plan.counts.clear()
        run_job(config)
        counts[name] = Counter(plan.counts)
    return counts


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, nargs=2, default=[20, 120], metavar=("FEW", "MANY"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    few, many = options.units
    plan = Counting()
    with (
        tempfile.TemporaryDirectory() as folder,
        store_server() as store,
        fault_proxy(store, plan) as proxy,
        patch.dict(os.environ, {**store.environment, "AWS_ENDPOINT_URL": proxy.endpoint}),
    ):
        store.empty(BUCKET)
        small, large = (count_job(store, plan, Path(folder), num_units) for num_units in (few, many))
    record: dict[str, dict[str, float]] = {}
    for name, counts in large.items():
        each = {key: (number - small[name][key]) / (many - few) for key, number in sorted(counts.items())}
        folders = sorted({folder for (folder, _), number in each.items() if number})
        rows = [[folder, *(f"{each.get((folder, kind), 0.0):.2f}" for kind in DOLLARS)] for folder in folders]
        whole = {kind: sum(number for (_, which), number in each.items() if which == kind) for kind in DOLLARS}
        fixed = {
            kind: sum(number for (_, which), number in small[name].items() if which == kind) - few * whole[kind]
            for kind in DOLLARS
        }
        rows.append(["all, for each unit", *(f"{number:.2f}" for number in whole.values())])
        rows.append(["all, once", *(f"{number:.0f}" for number in fixed.values())])
        print(f"\n{name}")
        show(["folder", *DOLLARS], rows)
        dollars = sum(DOLLARS[kind] * number for kind, number in whole.items())
        print(f"{1e6 * dollars:,.0f} dollars for a million units, which are a billion pairs in units of 1,024.")
        record[name] = {**whole, "dollars_a_million_units": 1e6 * dollars}
    print(f"{machine()}; ratings of {NUM_RULES} rules")
    write_json(options.json, {**record, "machine": machine()})


if __name__ == "__main__":
    main()
