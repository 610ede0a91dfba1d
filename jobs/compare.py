r"""ray job submit --address http://127.0.0.1:8265 --working-dir . -- \
    python jobs/compare.py --run /data/run

Count what every weight scheme gets right on the same pairs, and say what to make of it.
Paths are those that every node sees. Further flags are those of `encore-ray compare`; encore-ray is installed
on all nodes.
"""

import sys

from encore_ray.cli import main

if __name__ == "__main__":
    main(["compare", *sys.argv[1:]])
