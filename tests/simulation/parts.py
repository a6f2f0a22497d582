"""The code under test: the scripts and the two modules that speak to them, as they are or with one text replaced."""

import sys
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import ModuleType

from waitroom.store.evidence import Evidence
from waitroom.store.transitions import PREAMBLE, SCRIPTS, Store


class RottenMutantError(AssertionError):
    """The text that a mutant replaces is not in the code any more, or more than once."""


@dataclass(frozen=True)
class Mutant:
    """A planted bug: in `file` of waitroom, `old` becomes `new`."""

    name: str
    file: str
    old: str
    new: str
    seed: int = 1
    """From which schedule on it is looked for: one of those that have shown it, where it hides well."""


@dataclass(frozen=True)
class Parts:
    """What a simulated process is made of."""

    scripts: dict[str, str] = field(default_factory=dict)
    """Text of each script by its name, with all that goes in front."""
    memory: type[Evidence] = Evidence
    store: type[Store] = Store


def _source(file: str, mutant: Mutant | None) -> str:
    text = (files("waitroom.store") / file).read_text(encoding="utf-8")
    if mutant is None or mutant.file != file:
        return text
    if text.count(mutant.old) != 1:
        raise RottenMutantError(
            f"{mutant.name}: found {text.count(mutant.old)} times in {file}: {mutant.old!r}"
        )
    return text.replace(mutant.old, mutant.new)


def _module(name: str, mutant: Mutant) -> ModuleType:
    module = ModuleType(f"mutated_{name}")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    exec(compile(_source(f"{name}.py", mutant), f"{name}.py ({mutant.name})", "exec"), module.__dict__)
    return module


@cache
def parts(mutant: Mutant | None = None) -> Parts:
    """Assemble the code, with a bug planted if one is named."""
    scripts = {
        name: "\n".join(_source(f"scripts/{part}.lua", mutant) for part in (*PREAMBLE, name))
        for name in SCRIPTS
    }
    if mutant and mutant.file == "evidence.py":
        return Parts(scripts, _module("evidence", mutant).Evidence)
    if mutant and mutant.file == "transitions.py":
        return Parts(scripts, store=_module("transitions", mutant).Store)
    return Parts(scripts)
