"""`docs/testing.md`: each of its tests is run as it stands, in a folder of its own with the site that it speaks of."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SECRET
from tests.packaged import ROOT

DOC = (ROOT / "docs" / "testing.md").read_text("utf-8")
BLOCKS = dict(re.findall(r'```python title="([\w.]+)"\n(.*?)```', DOC, re.DOTALL))
TESTS = sorted(name for name in BLOCKS if name.startswith("test_"))


def test_every_block_has_a_name() -> None:
    assert len(BLOCKS) == DOC.count("```python")
    assert len(TESTS) > 4


@pytest.mark.parametrize("name", TESTS)
def test_the_page_is_true(tmp_path: Path, store_url: str, room: str, name: str) -> None:
    for file in ("shop.py", name):
        (tmp_path / file).write_text(BLOCKS[file], "utf-8")
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}", "WAITROOM_ROOM": room}
    env |= {"WAITROOM_REDIS_URL": store_url, "WAITROOM_SECRET": SECRET}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        str(tmp_path),
    ]
    done = subprocess.run(
        [*command, str(tmp_path / name)], capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
