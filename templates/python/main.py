"""Every rank throws its own darts at the unit square and writes what it found; nobody talks to anybody."""

import json
import os
import random

RANK = int(os.environ.get("NAUTA_RANK", "0"))
NODES = int(os.environ.get("NAUTA_NODES", "1"))
OUTPUTS = os.environ.get("NAUTA_OUTPUTS", ".")
DARTS = int(os.environ.get("DARTS", "1000000")) // NODES

darts = random.Random(RANK)
inside = 0
for dart in range(1, DARTS + 1):
    inside += darts.random() ** 2 + darts.random() ** 2 <= 1
    if dart % (DARTS // 4) == 0:
        print(f"{dart} of {DARTS} darts: pi is about {4 * inside / dart:.5f}", flush=True)

with open(os.path.join(OUTPUTS, "estimate.json"), "w") as file:
    json.dump({"rank": RANK, "darts": DARTS, "inside": inside, "pi": 4 * inside / DARTS}, file)
