# /// script
# requires-python = ">=3.11"
# dependencies = []
#
# [tool.runspec]
# name = "example/prepare"
# docs = "Makes sums to be solved: results/items.jsonl."
#
# [tool.runspec.run]
# launch = "python"
#
# [tool.runspec.config]
# default = "prepare"
# ///
import json
import os
import sys
from pathlib import Path

config = json.loads(Path(os.environ["EVALDOCK_CONFIG"]).read_text())
items = []
for number in range(config["count"]):
    left, right = ((number + config["seed"]) * factor % 90 + 10 for factor in (37, 29))
    items.append({"id": number, "question": f"{left} + {right}", "answer": left + right})

lines = "".join(f"{json.dumps(item)}\n" for item in items)
(Path(os.environ["EVALDOCK_RESULTS"]) / "items.jsonl").write_text(lines)
# For whoever reads from a pipe.
sys.stdout.write(lines)
