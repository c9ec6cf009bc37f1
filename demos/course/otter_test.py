"""A test file for otter-grader: the dict `test` in OK_FORMAT, with one case for each gradient."""

OK_FORMAT = True

CASE = """\
>>> import tinygrad_bp as tg
>>> report = tg.exercise("mlp-softmax", seed=1).grade(backward, limit=(10, 500))
>>> report.part("{name}").right or print(report)
True
"""

test = {
    "name": "mlp-softmax",
    "points": [1] * 6,
    "suites": [
        {
            "cases": [
                {"code": CASE.format(name=name), "hidden": False, "locked": False}
                for name in ("w1", "b1", "w2", "b2", "w3", "b3")
            ],
            "scored": True,
            "setup": "",
            "teardown": "",
            "type": "doctest",
        }
    ],
}
