r"""ray job submit --address http://127.0.0.1:8265 --working-dir . -- \
    python jobs/train.py --run /data/run --model /data/base --rules /data/rules.yaml --output /data/trained

Train a multi-head model on ratings, a reward model on preferences, or a rule adapter.
Paths are those that every node sees. Further flags are those of `encore-ray train`; encore-ray is installed
on all nodes.
"""

import sys

from encore_ray.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
