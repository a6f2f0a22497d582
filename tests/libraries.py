"""Page libraries as npm's registry has them, fetched for the tests into a folder outside the tree."""

import io
import os
import tarfile
import time
import urllib.request
from base64 import b64encode
from hashlib import sha512
from pathlib import Path

import pytest

REGISTRY = os.environ.get("NPM_CONFIG_REGISTRY", "https://registry.npmjs.org").rstrip("/")
SECONDS = 30
TRIES = 3

FILES = {
    "htmx1.js": (
        "htmx.org@1.9.12",
        "dist/htmx.min.js",
        "VZAohXyF7xPGS52IM8d1T1283y+X4D+Owf3qY1NZ9RuBypyu9l8cGsxUMAG5fEAb/DhT7rDoJ9Hpu5/HxFD3cw==",
    ),
    "htmx2.js": (
        "htmx.org@2.0.4",
        "dist/htmx.min.js",
        "HLxMCdfXDOJirs3vBZl/ZLoY+c7PfM4Ahr2Ad4YXh6d22T5ltbTXFFkpx9Tgb2vvmWFMbIc3LqN2ToNkZJvyYQ==",
    ),
    "htmx4.js": (
        "htmx.org@4.0.1",
        "dist/htmx.min.js",
        "oF7JgXhDW9UXCy/k1ZYFUQgzu/rm19ORWPSPNL91vPluB2PB9+MV55tyQdH/w7o2EAbTYUG5SDW1R60mdkdqGg==",
    ),
    "turbo7.js": (
        "@hotwired/turbo@7.3.0",
        "dist/turbo.es2017-umd.js",
        "Dcu+NaSvHLT7EjrDrkEmH4qET2ZJZ5IcCWmNXxNQTBwlnE5tBZfN6WxZ842n5cHV52DH/AKNirbPBtcEXDLW4g==",
    ),
    "turbo8.js": (
        "@hotwired/turbo@8.0.23",
        "dist/turbo.es2017-umd.js",
        "GZ7cijxEZ6Ig71u7rD6LHaRv/wcE/hNsc+nEfiWOkLNqUgLOwo5MNGWOy5ZV9ZUDSiQx1no7YxjTNnT4O6//cQ==",
    ),
    "unpoly11.js": (
        "unpoly@3.11.0",
        "unpoly.min.js",
        "9ozLaNvg17XAUd9c+gMCfDqZePDeb1fGpqQHAuQDMRF/Vf8X94rdrgo6A5oqt4PlxcywoJ8QGH4yS6J0vFZxhg==",
    ),
    "unpoly14.js": (
        "unpoly@3.14.3",
        "unpoly.min.js",
        "xCUlX7lJ17ktcJteWUKijFVprbwPoFcvg5utlZKHkORqfnyyTwidyC9s5yO0qAR7lWgx8MydBkhWlH/jy/xnkQ==",
    ),
    "inertia1.js": (
        "@inertiajs/core@1.3.0",
        "dist/index.esm.js",
        "TJ8R1eUYY473m9DaKlCPRdHTdznFWTDuy5VvEzXg3t/hohbDQedLj46yn/uAqziJPEUZJrSftZzPI2NMzL9tQA==",
    ),
    "inertia2.js": (
        "@inertiajs/core@2.0.0",
        "dist/index.esm.js",
        "2kvlk731NjwfXUku/ZoXsZNcOzx985icHtTC1dgN+8sAZtJfEg9QBrQ7sBjeLYiWtKgobJdwwpeDaexEneAtLQ==",
    ),
    "axios.js": (
        "axios@1.21.1",
        "dist/axios.min.js",
        "6eI5Q/Y4u/Um9dDlsRoq5pY2rxnUTv+L4PpLitnbk/i4jb3MxLZ5CsN5Ih3IysbeRYK4pR+P7qfMsOQl9fwwFQ==",
    ),
    "qs.js": (
        "qs@6.17.1",
        "dist/qs.js",
        "jd3COkaKVgGUW+ZHyEHCG9bH7RoaaiWuMgzsIBjUMVjLAaWGWpoUAVwljVvBHxRu/2qEHnadLGZrkutYUBPQJA==",
    ),
    "deepmerge.js": (
        "deepmerge@4.3.1",
        "dist/umd.js",
        "3sUqbMEc77XqpdNO7FRyRog+eW3ph+GYCbj+rK+uYyRMuwsVy0rMiVtPn+QJlKFvWP/1PYpapqYn0Me2knFn+A==",
    ),
    "nprogress.js": (
        "nprogress@0.2.0",
        "nprogress.js",
        "I19aIingLgR1fmhftnbWWO3dXc0hSxqHQHQb3H8m+K3TnEn/iSeTZZOyvKXWqQESMwuUVnatlCnZdLBZZt2VSA==",
    ),
}
"""Each file's package, its path in there, and the SHA-512 of the package: a browser runs it."""


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the libraries' files."""
    folder = tmp_path_factory.mktemp("libraries")
    for name, (package, inside, digest) in FILES.items():
        try:
            packed = _fetch(package)
        except OSError as error:
            said = f"{REGISTRY} cannot be reached ({error}): the page libraries are left out"
            if os.environ.get("CI") == "true":
                pytest.fail(said)
            pytest.skip(said)
        assert b64encode(sha512(packed).digest()).decode() == digest, f"{package} is another than it was"
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            found = archive.extractfile(f"package/{inside}")
            assert found is not None
            Path(folder, name).write_bytes(found.read())
    return folder


def _fetch(package: str) -> bytes:
    """Fetch a package as it was published; raises OSError where the registry cannot be reached."""
    path, _, version = package.rpartition("@")
    url = f"{REGISTRY}/{path}/-/{path.rpartition('/')[2]}-{version}.tgz"
    for again in range(TRIES):
        try:
            with urllib.request.urlopen(url, timeout=SECONDS) as response:  # the registry's URL
                packed: bytes = response.read()
                return packed
        except OSError:
            if again == TRIES - 1:
                raise
            time.sleep(1)
    raise AssertionError
