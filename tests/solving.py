"""Challenges as programs solve them: with ALTCHA's own library."""

import base64
import json
from typing import Any

import altcha


def solved(challenge: dict[str, Any], **changed: Any) -> str:
    """Solve a challenge; what is `changed` in its data or its solution is so after it was solved."""
    solution = altcha.solve_challenge(altcha.Challenge.from_dict(challenge))
    assert solution is not None
    told = {"challenge": json.loads(json.dumps(challenge)), "solution": solution.to_dict()}
    for name, value in changed.items():
        where = told["solution"] if name in told["solution"] else told["challenge"]["parameters"]["data"]
        where[name] = value
    return base64.b64encode(json.dumps(told).encode()).decode()


def carrying(challenge: dict[str, Any], **changed: Any) -> dict[str, str]:
    """The header that brings a challenge back solved."""
    return {"Waitroom-Solution": solved(challenge, **changed)}
