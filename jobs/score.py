r"""ray job submit --address http://127.0.0.1:8265 --working-dir . -- \
    python jobs/score.py --run /data/run --model /data/model

Score all pairs of a run under the rules of a multi-head model, on the whole cluster.
Paths are those that every node sees. Further flags are those of `encore-ray score`; encore-ray is installed
on all nodes.
"""

import sys

from encore_ray.cli import main

if __name__ == "__main__":
    main(["score", *sys.argv[1:]])
