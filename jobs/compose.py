r"""ray job submit --address http://127.0.0.1:8265 --working-dir . -- \
    python jobs/compose.py --run /data/run

Write the composed reward of every response and the margin of every pair.
Paths are those that every node sees. Further flags are those of `encore-ray compose`; encore-ray is installed
on all nodes.
"""

import sys

from encore_ray.cli import main

if __name__ == "__main__":
    main(["compose", *sys.argv[1:]])
