r"""ray job submit --address http://127.0.0.1:8265 --working-dir . -- \
    python jobs/prepare.py --input /data/pairs.jsonl --run /data/run

Read preference corpora into canonical pairs; rows that cannot be used go to quarantine.
Paths are those that every node sees. Further flags are those of `encore-ray prepare`; encore-ray is installed
on all nodes.
"""

import sys

from encore_ray.cli import main

if __name__ == "__main__":
    main(["prepare", *sys.argv[1:]])
