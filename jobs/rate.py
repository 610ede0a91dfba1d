r"""ray job submit --address http://127.0.0.1:8265 --working-dir . -- \
    python jobs/rate.py --run /data/run --judge /data/judge

Rate all pairs of a run under rules by a judge: any causal language model, here or behind an API.
Paths are those that every node sees. Further flags are those of `encore-ray rate`; encore-ray is installed
on all nodes.
"""

import sys

from encore_ray.cli import main

if __name__ == "__main__":
    main(["rate", *sys.argv[1:]])
