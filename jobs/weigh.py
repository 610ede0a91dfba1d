r"""ray job submit --address http://127.0.0.1:8265 --working-dir . -- \
    python jobs/weigh.py --run /data/run

Turn the rating entropies of all rules into weights: rules with high entropy count less (ENCORE).
Paths are those that every node sees. Further flags are those of `encore-ray weigh`; encore-ray is installed
on all nodes.
"""

import sys

from encore_ray.cli import main

if __name__ == "__main__":
    main(["weigh", *sys.argv[1:]])
