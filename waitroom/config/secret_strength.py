"""Which signing keys are too easy to guess: short, monotonous, or left as an example has them.

Whatever a program made of random numbers passes: the rules look only for what chance does not bring about.
"""

import re
from itertools import pairwise

SHORTEST = 32
"""Characters of the shortest key."""
FEWEST_CHARACTERS = 6
"""Different ones in a key: 32 random digits of base 16 have fewer once in 10¹² times."""
LEAST_BESIDE_WORDS = 16
"""Characters that are left of a key once the words that examples are made of are taken out."""
MOST_STEPS = 0.75
"""Share of neighbours in a key that may be the same or follow each other, as in `abc`, `321` and `aaa`."""

EXAMPLE_WORDS = re.compile(
    r"changeme|change|secret|password|passwd|passphrase|example|sample|default|placeholder|replace|insert|"
    r"please|your|signing|random|string|token|here|waitroom|waiting|room|admin|test|dummy|fake|insecure|"
    r"unsafe|development|production|letmein|hunter2|correct|horse|battery|staple|qwertyuiop|asdfghjkl|"
    r"zxcvbnm|qwerty|asdf|abcdef|0123456789|123456|deadbeef|cafebabe|must|least|characters|long|key|the|and|with|"
    r"not|this|todo|generate|before|deploying|deployment|deploy|really|real|very|super|iloveyou|quick|"
    r"brown|jumps|over|lazy|fox|dog|x{3,}|[\W_]"
)
"""Words and signs of made-up keys, longer ones before those that they begin with."""
UNEXPANDED = re.compile(r"\$[({].*|\{\{.*\}\}|<.*>|%.*%", re.DOTALL)
"""What a shell, a template or a person was to replace."""


class WeakSecretError(ValueError):
    """A key that somebody could guess; says why without showing any of it."""


def check_key(key: str) -> None:
    """Raise WeakSecretError for a key that is too easy to guess."""
    if UNEXPANDED.fullmatch(key):
        raise WeakSecretError("a key is a placeholder that nothing was put in the place of")
    if len(key) < SHORTEST:
        raise WeakSecretError("a key is too short")
    if len(set(key)) < FEWEST_CHARACTERS or _is_repeated(key):
        raise WeakSecretError("a key says the same again and again")
    if _steps(key) > MOST_STEPS:
        raise WeakSecretError("a key counts through the alphabet or the digits")
    if len(EXAMPLE_WORDS.sub("", key.lower())) < LEAST_BESIDE_WORDS:
        raise WeakSecretError("a key is made of the words of an example")


def _is_repeated(key: str) -> bool:
    """Tell whether a key is one piece, no longer than its half, over and over, cut off anywhere."""
    return any(key[size:] == key[:-size] for size in range(1, len(key) // 2 + 1))


def _steps(key: str) -> float:
    near = sum(abs(ord(one) - ord(next)) <= 1 for one, next in pairwise(key))
    return near / (len(key) - 1)
