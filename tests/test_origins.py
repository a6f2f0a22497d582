"""`WAITROOM_CORS_ORIGINS`: what is an origin, and what is said of what is not."""

import pytest

from tests.test_settings import wrong
from waitroom.config.settings import load


@pytest.mark.parametrize(
    "origin",
    [
        "https://shop.example",
        "https://shop.example:8443",
        "http://localhost:3000",
        "http://10.0.0.1",
        "http://[::1]:3000",
        "http://tauri.localhost",
        "capacitor://localhost",
        "ionic://localhost",
        "tauri://localhost",
        "app://.",
        "app://bundle",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        "moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc",
        "safari-web-extension://AAE9D8E8-11A2-4C4E-9B0A-7A1B2C3D4E5F",
        "com.example.app+x://host_1:65535",
    ],
)
def test_any_scheme_and_host_is_an_origin(origin: str) -> None:
    assert load(cors_origins=f"https://a.example, {origin}").cors_origins == ("https://a.example", origin)


@pytest.mark.parametrize(
    ("origin", "why"),
    [
        ("*", "every origin is written out"),
        ("null", "null is the origin of every sandboxed frame and local file"),
        ("file://", "it has no host"),
        ("https://", "it has no host"),
        ("shop.example", "an origin is scheme://host or scheme://host:port"),
        ("//shop.example", "an origin is scheme://host or scheme://host:port"),
        ("1app://host", "an origin is scheme://host or scheme://host:port"),
        ("https://shop.example/", "it has no path and no slash at the end"),
        ("capacitor://localhost/index.html", "it has no path"),
        ("https://shop.example?x", "it has no path"),
        ("app://a#b", "it has no path"),
        ("HTTPS://shop.example", "the scheme in lower case"),
        ("https://Shop.example", "the host in lower case"),
        ("https://*.shop.example", "there are no wildcards"),
        ("https://user@shop.example", "its host is not a name or an address"),
        ("https://shop example", "its host is not a name or an address"),
        ("https://münchen.example", "as xn--"),
        ("http://[1]", "its host is not a name or an address"),
        ("http://[0:0:0:0:0:0:0:1]", "as [::1]"),
        ("http://localhost:", "its port is not a number from 1 to 65535"),
        ("http://localhost:0", "its port is not a number from 1 to 65535"),
        ("http://localhost:65536", "its port is not a number from 1 to 65535"),
        ("https://shop.example:443", "browsers leave the port 443 out"),
        ("http://shop.example:80", "browsers leave the port 80 out"),
    ],
)
def test_what_no_browser_sends_is_refused_in_one_line_that_says_why(origin: str, why: str) -> None:
    message = wrong(cors_origins=origin)
    assert message.startswith(f"WAITROOM_CORS_ORIGINS={origin!r} is not allowed: ")
    assert why in message
    assert "; allowed: scheme://host" in message
    assert "\n" not in message
