r"""ray job submit --address http://127.0.0.1:8265 --working-dir . -- \
    python jobs/refine.py fit --run /data/run

Fit energies to rewards or scores (EBRM), or move each of them to where its energy is highest.
Paths are those that every node sees. Further flags are those of `encore-ray refine`; encore-ray is installed
on all nodes.
"""

import sys

from encore_ray.cli import main

if __name__ == "__main__":
    main(["refine", *sys.argv[1:]])
