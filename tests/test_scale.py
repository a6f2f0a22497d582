"""What the documentation says of long lines, as the command writes it."""

from pathlib import Path

import pytest

from benchmarks import scale
from waitroom.line.window import Tempo

PAGE = Path(__file__).parent.with_name("docs") / "scale.md"


def rows(page: str) -> list[str]:
    return [line for line in page.partition(scale.BEGIN)[2].splitlines() if line.startswith("|")]


def test_the_tables_are_those_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "SIMULATED", 1_000)
    copy = tmp_path / "scale.md"
    copy.write_text(PAGE.read_text("utf-8"), "utf-8")
    assert scale.main(["--write", str(copy)]) == 0
    assert rows(copy.read_text("utf-8")) == rows(PAGE.read_text("utf-8"))
    assert len(rows(copy.read_text("utf-8"))) == 13
    scale.main(["--write", str(copy), "--window", "50"])
    assert rows(copy.read_text("utf-8")) != rows(PAGE.read_text("utf-8"))


@pytest.mark.parametrize("waiting", [500, 20_000])
def test_paper_and_simulation_agree(waiting: int) -> None:
    tempo = Tempo.of(50, 10, 30)
    mean, most = scale.by_simulation(waiting, tempo, 60, seed=1)
    # The short line moves on meanwhile, and a fifth of it has gone by the end.
    assert mean == pytest.approx(scale.on_paper(waiting, tempo, 60), rel=0.3 if waiting == 500 else 0.1)
    assert most < 2 * mean
