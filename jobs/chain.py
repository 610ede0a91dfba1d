r"""ray job submit --address http://127.0.0.1:8265 --working-dir . -- \
    python jobs/chain.py jobs/chain.yaml

Run several commands in order: from corpora to ratings, heads, weights and a comparison, say.
Paths are those that every node sees. Further flags are those of `encore-ray chain`; encore-ray is installed
on all nodes.
"""

import sys

from encore_ray.cli import main

if __name__ == "__main__":
    main(["chain", *sys.argv[1:]])
