r"""ray job submit --address http://127.0.0.1:8265 --working-dir . -- \
    python jobs/fit-heads.py --run /data/run --model /data/encoder --rules /data/rules.yaml --output /data/heads

Fit one linear head a rule to labels, on the embeddings of a frozen model, for `score` to load.
Paths are those that every node sees. Further flags are those of `encore-ray fit-heads`; encore-ray is installed
on all nodes.
"""

import sys

from encore_ray.cli import main

if __name__ == "__main__":
    main(["fit-heads", *sys.argv[1:]])
