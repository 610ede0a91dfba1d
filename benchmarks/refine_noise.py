"""python benchmarks/refine_noise.py --picture docs/refinement.svg --json noise.json

What refined rewards buy on a planted corpus as ever more of the labels are wrong: the demo's corpus, model and job,
then `encore-ray refine fit` with 20 and 35 % of the labels turned round in training. All rewards are evaluated on the
same held-out pairs as they are. Writes the picture that the command leaves in the run.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.commands import run_command
from benchmarks.tables import machine, show, write_json
from encore_ray.schema import REFINE_REPORT_FILE, ROBUSTNESS_FILE
from encore_ray.storage import Folder

NOISE = ("0.2", "0.35")
# Small corpora take few steps an epoch: shorter batches and a higher rate than the paper's, and the held-out loss ends
# the fit.
SETTINGS = ("--batch-responses", "64", "--learning-rate", "3e-3", "--epochs", "12")
NEGATIVES = ("--negatives", "16")


def noise_flags() -> list[str]:
    return [part for share in NOISE for part in ("--noise", share)]


def measure(folder: Path, *, num_pairs: int) -> dict[str, Any]:
    """The report of the fit on the demo's corpus, of which about a tenth of the labels is wrong, made in a folder."""
    run, model = str(folder / "run"), str(folder / "model")
    run_command("demo", "--folder", str(folder), "--pairs", str(num_pairs))
    run_command("score", "--run", run, "--model", model, "--keep-embeddings")
    run_command("refine", "fit", "--run", run, *NEGATIVES, *SETTINGS, *noise_flags())
    return Folder(run).read_json(REFINE_REPORT_FILE)


def show_controls(controls: list[dict[str, Any]]) -> None:
    """Each reward's accuracy, and its difference to the base reward, with intervals."""
    rows = []
    for control in controls:
        difference = control["difference_to_base"]
        apart = f"{100 * difference['value']:+.1f} ({100 * difference['low']:+.1f} to {100 * difference['high']:+.1f})"
        rows.append(
            [
                control["name"],
                f"{control['noise']:.0%}",
                f"{100 * control['accuracy']:.1f} ({100 * control['accuracy_low']:.1f} to "
                f"{100 * control['accuracy_high']:.1f})",
                "" if control["name"] == "base" else apart,
            ]
        )
    show(["reward", "labels turned round", "accuracy, % (95%)", "above base, points (95%)"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=4096)
    parser.add_argument("--picture", type=Path, help="Where a copy of the chart goes.")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    os.environ["ENCORE_RAY_TRACKING_ENABLED"] = "false"
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = measure(Path(folder), num_pairs=args.pairs)
        if args.picture:
            shutil.copy(Path(folder) / "run" / ROBUSTNESS_FILE, args.picture)
    show_controls(report["controls"])
    print(report["verdict"])
    print(f"{args.pairs:,} pairs, {time.monotonic() - started:.0f} s on {machine()}.")
    write_json(args.json, {**report, "machine": machine()})


if __name__ == "__main__":
    main()
