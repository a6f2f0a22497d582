"""The table of settings, written from the code: `python -m tests.settings_table README.md docs/settings.md`."""

import sys
from pathlib import Path

from waitroom.config.environment import PREFIX, ROOMS
from waitroom.config.settings import Settings

BEGIN, END = "<!-- settings: written by `make readme` -->\n", "<!-- end of settings -->"


def table() -> str:
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        shown = extra["shown"]
        if shown is None:
            default = field.default
            text = (
                ",".join(default)
                if isinstance(default, tuple)
                else f"{default:g}"
                if _is_number(default)
                else default
            )
            shown = f"`{text}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {shown} | {field.description} |")
    rows.append(f"| `{ROOMS}<NAME>__<SETTING>` | – | one setting of a further room; it takes over the rest |")
    return "\n".join(rows) + "\n"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def written(page: str) -> str:
    """Put the table between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(written(path.read_text("utf-8")), "utf-8")
