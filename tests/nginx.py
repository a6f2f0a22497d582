"""A real nginx with a configuration of a test's own."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import stores
from tests.gates import Server, free_port, started

FOLDERS = """\
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
"""
"""All that it would else write to where only root may."""


@contextmanager
def nginx(configured: Callable[[str, int], str]) -> Iterator[Server]:
    """Run nginx until the block ends; `configured` writes its whole configuration for a folder and a port."""
    binary = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if binary is None:
        stores.missing("nginx")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="waitroom-test-") as folder:
        Path(folder).chmod(0o755)  # as root nginx gives its workers to another user
        config = Path(folder, "nginx.conf")
        config.write_text(configured(folder, port))
        command = [str(binary), "-e", "stderr", "-g", "daemon off;", "-c", str(config)]
        with started(command, {}, port) as server:
            yield server


def serving(settings: str, location: str) -> Callable[[str, int], str]:
    """A configuration of one server with one location; `settings` are those of `http`."""

    def configured(folder: str, port: int) -> str:
        return (
            f"pid {folder}/nginx.pid;\nerror_log stderr warn;\nevents {{ worker_connections 512; }}\n"
            f"http {{\n    access_log off;\n{FOLDERS}{settings}\n"
            f"    server {{\n        listen 127.0.0.1:{port};\n        location / {{\n{location}\n"
            "        }\n    }\n}\n"
        ).replace("{folder}", folder)

    return configured


CACHE = "    proxy_cache_path {folder}/cache keys_zone=all:1m inactive=1h;"


@contextmanager
def cache(gate: Server, settings: str) -> Iterator[Server]:
    """Run a cache in front of a gate; its answers say what it did by `X-Cache`."""
    location = (
        f"proxy_pass {gate.url};\nproxy_set_header Host $http_host;\nproxy_cache all;\n"
        f"add_header X-Cache $upstream_cache_status always;\n{settings}"
    )
    with nginx(serving(CACHE, location)) as server:
        yield server
