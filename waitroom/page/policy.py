"""The Content-Security-Policy of what the gate answers: nothing of other hosts, and of scripts its own alone."""

from base64 import b64encode
from hashlib import sha256

STRICTEST = "default-src 'none'; frame-ancestors 'none'"


def hash_of(text: str) -> str:
    """Write the source by which a policy allows an inlined style or script."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def policy_of(css: str, *scripts: str) -> str:
    """Write the policy of a page that has this style and these scripts in it."""
    # Images of the site itself, because a browser asks for its /favicon.ico on every page.
    return (
        f"default-src 'none'; script-src {' '.join(map(hash_of, scripts))}; style-src {hash_of(css)}; "
        "connect-src 'self'; worker-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )
