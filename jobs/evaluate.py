r"""ray job submit --address http://127.0.0.1:8265 --working-dir . -- \
    python jobs/evaluate.py --run /data/run

Count how often the composed reward agrees with the human label, in all and per subset.
Paths are those that every node sees. Further flags are those of `encore-ray evaluate`; encore-ray is installed
on all nodes.
"""

import sys

from encore_ray.cli import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
