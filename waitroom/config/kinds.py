"""How a setting is described, and the kinds of values that several of them have: lists by commas, origins, folders."""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from waitroom.config.exclusions import DEFAULT_EXCLUDE, together
from waitroom.config.origins import check_origin
from waitroom.paths.patterns import check_pattern


def setting(meaning: str, allowed: str, default: Any = ..., *, shown: str | None = None, **more: Any) -> Any:
    """Describe one setting: what it means, what is allowed, its default and how the table shows that."""
    if callable(default):
        more["default_factory"] = default
    else:
        more["default"] = default
    return Field(description=meaning, json_schema_extra={"allowed": allowed, "shown": shown}, **more)


def commas(value: Any) -> Any:
    """Take a text apart at its commas; what is none stays as it is."""
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


def _patterns(value: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in value:
        check_pattern(pattern)
    return value


def _excluded(value: Any) -> Any:
    # Checked as it was given, so that an error shows what somebody wrote and not what it adds to.
    entries = commas(value)
    if isinstance(entries, list | tuple) and all(isinstance(entry, str) for entry in entries):
        return together(DEFAULT_EXCLUDE, entries)
    return entries


def _origins(value: tuple[str, ...]) -> tuple[str, ...]:
    for origin in value:
        check_origin(origin)
    return value


def _proxies(value: tuple[str, ...]) -> tuple[str, ...]:
    for proxy in value:
        if proxy != "unix":
            ip_network(proxy)
    return value


def _folder(value: Path) -> Path:
    if not value.is_dir():
        raise ValueError
    return value


CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(commas)]
Patterns = Annotated[CommaList, AfterValidator(_patterns)]
Exclusions = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_excluded)]
Origins = Annotated[CommaList, AfterValidator(_origins)]
Proxies = Annotated[CommaList, AfterValidator(_proxies)]
Folder = Annotated[Path, AfterValidator(_folder)]
