r"""ray job submit --address http://127.0.0.1:8265 --working-dir . -- \
    python jobs/refine.py fit --run /data/run

Fits an energy to the rewards of a run that has embeddings, or to the scores of each rule; `refine apply` then moves
each of them by it.
Paths are those that every node sees. Further flags are those of `encore-ray refine`; encore-ray is installed
on all nodes.
"""

import sys

from encore_ray.cli import main

if __name__ == "__main__":
    main(["refine", *sys.argv[1:]])
