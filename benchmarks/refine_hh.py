"""python benchmarks/refine_hh.py --pairs harmless-base-test.jsonl.gz --labels rbr-gold/train.jsonl --model ENCODER

What refining buys on people's preferences: HH-RLHF pairs, scored by heads that `fit-heads` fits to people's labels of
other completions on a frozen sentence encoder. Base rewards, a plain refit of a linear head and refined rewards on the
held-out pairs that nothing was fitted to; how far label probabilities hold; and what `compare` says of the base, the
refined rewards and ENCORE of each rule's refined scores, on all held-out pairs.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.commands import run_command
from benchmarks.heads import measure as fit_heads
from benchmarks.refine_noise import NEGATIVES, SETTINGS, noise_flags, show_controls
from benchmarks.tables import machine, show, write_json
from encore_ray.schema import COMPARISON_FILE, REFINE_REPORT_FILE, RULE_REFINE_REPORT_FILE
from encore_ray.storage import Folder

REFINED, BESIDE = "refined", "ENCORE of refined"


def measure(pairs: Path, labels: Path, model: str, folder: Path) -> dict[str, Any]:
    """Heads, scores, rewards, energies and a comparison, made in a folder: the two reports, and comparison.json."""
    fit_heads(labels, model, folder)
    run, refined = str(folder / "hh"), str(folder / "hh" / "refined_scores")
    weights, rewards = str(folder / "of_refined" / "weights.json"), str(folder / "of_refined" / "rewards")
    run_command("prepare", "--input", str(pairs), "--run", run)
    run_command("score", "--run", run, "--model", str(folder / "heads"), "--keep-embeddings")
    run_command("weigh", "--run", run)
    run_command("compose", "--run", run)
    run_command("refine", "fit", "--run", run, *NEGATIVES, *SETTINGS, *noise_flags())
    run_command("refine", "fit", "--run", run, "--per-rule", "--negatives", "8", *SETTINGS)
    run_command("refine", "apply", "--run", run)
    run_command("weigh", "--scores", refined, "--output", weights)
    run_command("compose", "--scores", refined, "--weights", weights, "--output", rewards)
    run_command("compare", "--run", run, "--beside", f"{REFINED}={run}/refined", "--beside", f"{BESIDE}={rewards}")
    found = Folder(run)
    files = {"reward": REFINE_REPORT_FILE, "rules": RULE_REFINE_REPORT_FILE, "comparison": COMPARISON_FILE}
    return {name: found.read_json(file) for name, file in files.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, required=True, help="HH-RLHF's harmless-base test set.")
    parser.add_argument("--labels", type=Path, required=True, help="see benchmarks/heads.py")
    parser.add_argument("--model", required=True, help="folder or hub id of a sentence encoder")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    os.environ["ENCORE_RAY_TRACKING_ENABLED"] = "false"
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(args.pairs, args.labels, args.model, Path(folder))
    show_controls(found["reward"]["controls"])
    show(
        ["label probability from", "calibration error", "log loss"],
        [
            [source["source"], f"{source['ece']:.1%}", f"{source['log_loss']:.3f}"]
            for source in found["reward"]["calibration"]["sources"]
        ],
    )
    show(
        ["beside each other", "accuracy, % (95%)"],
        [
            [entry["name"], "{accuracy:.1%} ({accuracy_low:.1%} to {accuracy_high:.1%})".format(**entry["heldout"])]
            for entry in (*found["comparison"]["schemes"], *found["comparison"]["beside"])
            if entry["name"] in ("encore", "uniform", REFINED, BESIDE)
        ],
    )
    print(found["reward"]["verdict"])
    print(found["rules"]["verdict"])
    print(f"{time.monotonic() - started:.0f} s on {machine()}.")
    write_json(args.json, {**found, "machine": machine()})


if __name__ == "__main__":
    main()
