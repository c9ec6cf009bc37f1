"""Grade a submission for Gradescope: python gradescope.py [submission.py] [results.json].

Its `run_autograder` calls this with the files under /autograder/submission and /autograder/results.
"""

import json
import runpy
import sys
from pathlib import Path

import tinygrad_bp as tg

HERE = Path(__file__).parent
POINTS = {"w1": 2.0, "b1": 1.0, "w2": 2.0, "b2": 1.0, "w3": 2.0, "b3": 1.0}


def main(submission=HERE / "submission.py", results=HERE.parent / "out" / "results.json"):
    task = tg.exercise("mlp-softmax", seed=1)

    def backward(**inputs):  # the student's file runs inside the limits, too
        return runpy.run_path(str(submission))["backward"](**inputs)

    report = task.grade(backward, limit=(10, 500), points=POINTS)
    tests = [
        {
            "name": part.name,
            "score": part.points * part.right,
            "max_score": part.points,
            "output": part.reason,
        }
        for part in report.parts
    ]
    Path(results).parent.mkdir(exist_ok=True)
    Path(results).write_text(json.dumps({"output": str(report), "tests": tests}, indent=1), encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main(*sys.argv[1:])
