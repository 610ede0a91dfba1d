r"""ray job submit --address http://127.0.0.1:8265 --working-dir . -- \
    python jobs/fit-heads.py --run /data/run --model /data/encoder --rules /data/rules.yaml --output /data/heads

Fits a linear head for each rule to the labels of a run that `prepare.py` has made.
Paths are those that every node sees. Further flags are those of `encore-ray fit-heads`; encore-ray is installed
on all nodes.
"""

import sys

from encore_ray.cli import main

if __name__ == "__main__":
    main(["fit-heads", *sys.argv[1:]])
