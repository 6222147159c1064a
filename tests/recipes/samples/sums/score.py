# /// script
# requires-python = ">=3.11"
# dependencies = []
#
# [tool.runspec]
# name = "example/score"
# docs = """
# Scores a solver of sums.
#
# Reads items.jsonl of the step `prepare`, or from standard input, and leaves scores.json.
# """
#
# [tool.runspec.run]
# launch = "python"
#
# [tool.runspec.config]
# default = "score"
# ///
import json
import os
import sys
from pathlib import Path

config = json.loads(Path(os.environ["EVALDOCK_CONFIG"]).read_text())
prepared = os.environ.get("EVALDOCK_INPUT_PREPARE")
text = (Path(prepared) / "items.jsonl").read_text() if prepared else sys.stdin.read()
items = [json.loads(line) for line in text.splitlines()]


def solve(question: str) -> int:
    """A solver that can't carry, unless it is told to think."""
    left, right = (int(number) for number in question.split(" + "))
    if config["think"]:
        return left + right
    return sum(place * ((left // place + right // place) % 10) for place in (1, 10))


correct = sum(solve(item["question"]) == item["answer"] for item in items)
scores = {"items": len(items), "accuracy": correct / len(items)}
(Path(os.environ["EVALDOCK_RESULTS"]) / "scores.json").write_text(json.dumps(scores))
print(json.dumps(scores))
