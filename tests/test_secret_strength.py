"""Keys that somebody could guess stop the start; those that a program made never do."""

import base64
import random
import re
import string
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from waitroom.cli import commands as cli
from waitroom.config.secret_strength import SHORTEST, WeakSecretError, check_key
from waitroom.config.settings import load
from waitroom.errors import SettingsError

ROOT = Path(__file__).parent.parent
REPEATS = "a key says the same again and again"
COUNTS = "a key counts through the alphabet or the digits"
WORDS = "a key is made of the words of an example"
PLACEHOLDER = "a key is a placeholder that nothing was put in the place of"

WEAK = {
    "hunter2": "a key is too short",
    "a" * 31: "a key is too short",
    "a" * 32: REPEATS,
    "o" * 500: REPEATS,
    "01" * 32: REPEATS,
    "abcabcaab" * 5: REPEATS,
    "change-me-change-me-change-me-change-me": REPEATS,
    "deadbeefcafe" * 3: REPEATS,
    "0011223344550011223344550011223344": REPEATS,
    "abcdefghijklmnopqrstuvwxyz0123456789": COUNTS,
    "zyxwvutsrqponmlkjihgfedcba9876543210": COUNTS,
    "aaaaaabbbbbbccccccddddddeeeeeeffffffgggggg": COUNTS,
    string.printable[:62]: COUNTS,
    "your-secret-key-here-change-me-please": WORDS,
    "CHANGEME_this_is_not_a_secure_key_at": WORDS,
    "replace-this-with-at-least-32-characters": WORDS,
    "super-secret-signing-key-for-waitroom-production": WORDS,
    "qwertyuiopasdfghjklzxcvbnm123456": WORDS,
    "correct horse battery staple correct horse": WORDS,
    "password-password1-password2-password3": WORDS,
    "thisisaverylongsecretkeythatisatleast32characters": WORDS,
    "TODO-generate-a-real-key-before-deploying": WORDS,
    "the quick brown fox jumps over the lazy dog": WORDS,
    "${WAITROOM_SECRET:?a signing key of 32 characters or more is needed": PLACEHOLDER,
    "$(waitroom keygen)": PLACEHOLDER,
    "<put the output of waitroom keygen here>": PLACEHOLDER,
    "{{ waitroom_secret_of_the_production_cluster }}": PLACEHOLDER,
    "%WAITROOM_SECRET_OF_THE_PRODUCTION_SITE%": PLACEHOLDER,
}


@pytest.mark.parametrize("key", WEAK)
def test_a_key_that_could_be_guessed_is_refused(key: str) -> None:
    with pytest.raises(WeakSecretError) as refused:
        check_key(key)
    assert str(refused.value) == WEAK[key]


@pytest.mark.parametrize("key", [key for key in WEAK if "," not in key])
@pytest.mark.parametrize("beside", ["{}", "hN2tWn0yF3Jq-8vXoZcLr5_eKdUiMb7gPsAa1RkQxYw,{}"])
def test_a_weak_key_stops_the_start_with_one_line(key: str, beside: str) -> None:
    """Wherever it stands among the keys: one that only verifies still lets everybody in who has it."""
    with pytest.raises(SettingsError) as refused:
        load(secret=beside.format(key))
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"WAITROOM_SECRET=(not shown) is not allowed: {WEAK[key]}; allowed: one or more")
    assert key not in line
    assert not refused.value.others


def test_the_command_line_ends_with_one_line_and_status_2() -> None:
    done = CliRunner().invoke(cli.main, ["serve"], env={"WAITROOM_SECRET": "changeme" * 8})
    assert done.exit_code == 2
    assert [line for line in done.output.splitlines() if "WAITROOM_SECRET" in line] == [
        done.output.splitlines()[-1]
    ]
    assert REPEATS in done.output
    assert "changeme" not in done.output


# What `waitroom keygen`, `openssl rand -hex 32`, `-hex 16`, `-base64 48` and `-base64 32` print, and a
# password manager: of random bytes alone.
MADE: dict[str, Callable[[bytes], str]] = {
    "keygen": lambda made: base64.urlsafe_b64encode(made[:32]).rstrip(b"=").decode(),
    "hex 32": lambda made: made[:32].hex(),
    "hex 16": lambda made: made[:16].hex(),
    "base64 48": lambda made: base64.b64encode(made[:48]).decode(),
    "base64 32": lambda made: base64.b64encode(made[:32]).decode(),
    "32 letters and digits": lambda made: "".join(
        (string.ascii_letters + string.digits)[byte % 62] for byte in made[:32]
    ),
}


@pytest.mark.parametrize("program", MADE)
def test_what_a_program_made_of_random_bytes_is_never_refused(program: str) -> None:
    """Seeded chance, and no property's inputs: those like best just what chance does not bring about."""
    chance = random.Random(program)
    for _ in range(5_000):
        check_key(MADE[program](chance.randbytes(48)))


def test_keygens_own_are_never_refused() -> None:
    for _ in range(20):
        check_key(CliRunner().invoke(cli.main, ["keygen"]).output.strip())


def shown() -> list[str]:
    """Whatever the documentation, the manifests and the compose file give as a key."""
    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "compose.yaml", *ROOT.glob("k8s/**/*.yaml")]
    found = []
    for file in files:
        text = file.read_text("utf-8")
        found += re.findall(r"WAITROOM_(?:\w+__)?SECRET *[=:] *[\"']?([^\s`\"'|]+)", text)
        found += re.findall(r"\bsecret *= *[\"']([^\"']+)", text)
    return found


def test_no_key_of_an_example_is_accepted() -> None:
    """Who copies a line of the documentation and forgets to put a key in has no gate with a public key."""
    found = shown()
    assert len(found) >= 6
    for value in found:
        for key in value.split(","):
            with pytest.raises(WeakSecretError):
                check_key(key)


def test_the_shortest_key_is_as_the_documentation_says() -> None:
    assert f"shorter than {SHORTEST} characters" in (ROOT / "SECURITY.md").read_text("utf-8")
