r"""ray job submit --address http://127.0.0.1:8265 --working-dir . -- \
    python jobs/prepare.py --input /data/pairs.jsonl --run /data/run

Reads corpora into the canonical pairs of a run, on every node of a Ray cluster.
Paths are those that every node sees. Further flags are those of `encore-ray prepare`; encore-ray is installed
on all nodes.
"""

import sys

from encore_ray.cli import main

if __name__ == "__main__":
    main(["prepare", *sys.argv[1:]])
