# /// script
# requires-python = ">=3.11"
# dependencies = []
#
# [tool.runspec]
# name = "example/report"
# docs = "Writes the scores down for people: results/report.md."
#
# [tool.runspec.run]
# launch = "python"
# ///
import json
import os
import sys
from pathlib import Path

scored = os.environ.get("EVALDOCK_INPUT_SCORE")
scores = json.loads((Path(scored) / "scores.json").read_text() if scored else sys.stdin.read())
report = f"# Sums\n\n{scores['accuracy']:.0%} of {scores['items']} are right.\n"
(Path(os.environ["EVALDOCK_RESULTS"]) / "report.md").write_text(report)
print(report)
