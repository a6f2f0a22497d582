"""What is said of a setting that is wrong or unknown: its variable, its value, and what is allowed."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from waitroom.config.environment import PREFIX
from waitroom.config.exclusions import ExclusionsError
from waitroom.config.origins import OriginError
from waitroom.config.secret_strength import WeakSecretError
from waitroom.config.store_url import StoreUrlError
from waitroom.errors import SettingsError

SECRETIVE = ("secret", "redis_url")
"""Settings whose values an error or a log never shows."""
EXPLAINED = (ExclusionsError, OriginError, StoreUrlError, WeakSecretError)
"""Errors of a value that say why in words of their own, which hold nothing of a secret."""


def unknown(names: Iterable[str], known: Iterable[str]) -> SettingsError:
    """Refuse variables that there are not."""
    allowed = list(known)
    return SettingsError(*(_unknown(name, allowed) for name in names))


def refusal(
    wrong: ValidationError, fields: Mapping[str, FieldInfo], prefix: str, own: Iterable[str]
) -> SettingsError:
    """Tell all that is wrong, a line each. `prefix` is that of the room's variables, `own` what these say."""
    # What follows from another setting was not made out where that one is wrong.
    errors = [error for error in wrong.errors() if error["type"] != "default_factory_not_called"]
    return SettingsError(*(_wrong(error, fields, prefix, own) for error in errors))


def _unknown(name: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(name, allowed, n=1)
    hint = f"did you mean {near[0]}?" if near else f"allowed are {', '.join(allowed)}"
    return f"{name}: there is no such setting; {hint}"


def _wrong(error: Any, fields: Mapping[str, FieldInfo], prefix: str, own: Iterable[str]) -> str:
    name = str(error["loc"][0])
    variable = f"{prefix}{name.upper()}"
    if name not in fields:
        return _unknown(variable, [f"{prefix}{field.upper()}" for field in fields])
    extra = fields[name].json_schema_extra
    allowed = extra["allowed"] if isinstance(extra, dict) else ""
    if name == "secret" and not _readable(error["input"] or "").strip(", "):
        return f"{variable} is not set: with a real store it is required; allowed: {allowed}"
    value = "(not shown)" if name in SECRETIVE else repr(_readable(error["input"]))
    cause = error.get("ctx", {}).get("error")
    why = f": {cause}" if isinstance(cause, EXPLAINED) else ""
    inherited = f" (that of {PREFIX}{name.upper()})" if prefix != PREFIX and name not in own else ""
    return f"{variable}={value}{inherited} is not allowed{why}; allowed: {allowed}"


def _readable(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return re.sub(r"(.{80}).+", r"\1…", text, flags=re.DOTALL)
