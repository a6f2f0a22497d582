"""Which request is protected: every spelling of a protected path, and nothing that was clearly excluded."""

import re
import sys
import unicodedata
from collections.abc import Callable, Sequence
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from waitroom.errors import SettingsError
from waitroom.paths.patterns import Paths, as_sent, check_pattern, same_paths, strip_root
from waitroom.paths.readings import LONGEST_SPELLING, MOST_ROUNDS, normalise, read

KIB_64 = 64 * 1024
DEFAULT_EXCLUDE = ("/robots.txt", "/favicon.ico", "/.well-known/*")

# Any text a server might put into a scope, broken bytes kept as surrogates included.
any_text = st.text(st.characters(categories=None))
pathlike = st.text(st.sampled_from("/\\.%2fFeE5c;?# \0aAbs*é\u0301\uff0f\u2025\ud800\ufffd")).map(
    "/{}".format
)


def matches(pattern: str, path: str) -> bool:
    """What a pattern means, in the plainest words: the set of places in the path it can have got to."""
    places = {0}
    for char in pattern:
        if char == "*":
            places = set(range(min(places), len(path) + 1)) if places else places
        else:
            places = {place + 1 for place in places if path[place : place + 1] == char}
    return len(path) in places


# --- patterns ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "path", "gated"),
    [
        ("*", "/", True),
        ("*", "", True),
        ("/*", "/", True),
        ("/*", "/anything/at/all", True),
        ("/**", "/anything", True),
        ("/", "/", True),
        ("/", "", True),
        ("/", "/shop", False),
        ("/shop", "/shop", True),
        ("/shop", "/shopping", False),
        ("/shop", "/shop/cart", False),
        ("/shop", "/my/shop", False),
        ("/shop", "", False),
        ("/shop*", "/shopping/cart", True),
        ("/shop/*", "/shop/cart/1", True),
        ("/shop/*", "/shopping", False),
        ("*.php", "/old/index.php", True),
        ("*.php", "/old/index.php5", False),
        ("/*/pay", "/en/pay", True),
        ("/*/pay", "/en/shop/pay", True),
        ("/*/pay", "//pay", True),
        ("/*/pay", "/pay", False),
        ("/*/pay/*", "/payments/pay/1", True),
        ("/a*b*c", "/abc", True),
        ("/a*b*c", "/acb", False),
        ("/a*b*c", "/a-b-c-b-c", True),
        ("/a*b*c*d", "/abcd", True),
        ("/a*b*c*d", "/acbd", False),
        ("/a+(b)|c", "/a+(b)|c", True),
        ("/a.b", "/axb", False),
        ("/100%", "/100%", True),
        ("/line*", "/line/1", True),
    ],
)
def test_star_matches_anything_and_the_rest_is_literal(pattern: str, path: str, gated: bool) -> None:
    assert Paths([pattern], []).gated(path) is gated


@given(
    st.lists(st.text("/*ab", max_size=6).map("/{}".format)), st.text("/ab", max_size=12).map("/a{}".format)
)
def test_a_pattern_matches_as_its_definition_says(patterns: list[str], path: str) -> None:
    patterns = [re.sub("//+", "/", pattern) for pattern in patterns]
    path = re.sub("//+", "/", path).rstrip("/")
    expected = any(
        matches(form, spelling)
        for pattern in patterns
        for form in (pattern, pattern.removesuffix("/"))
        for spelling in (path, f"{path}/")
    )
    assert Paths(patterns, []).gated(path) is expected
    assert Paths(patterns, []).gated(f"{path}/") >= expected


@pytest.mark.parametrize("pattern", ["/shop", "/shop/", "/shop/*", "/shop/**", "/shop/*/"])
@pytest.mark.parametrize("path", ["/shop", "/shop/", "/shop//", "/SHOP/."])
def test_a_final_slash_makes_no_difference_to_what_is_protected(pattern: str, path: str) -> None:
    assert Paths([pattern], []).gated(path)


@pytest.mark.parametrize(
    ("exclude", "path", "gated"),
    [
        ("/health", "/health", False),
        ("/health", "/health/", True),
        ("/health/", "/health/", False),
        ("/health/", "/health", True),
        ("/static/*", "/static", True),
        ("/static/*", "/static/", False),
        ("/static/*", "/static/..", True),
        ("/static/*", "/static/app.css", False),
        ("/static/*", "/static//app.css", False),
        ("/static/*", "/static/css/../app.css", False),
        ("/static/*", "/static/Foo Bar.PDF", False),
        ("/static/*", "/static/menü.pdf", False),
        ("/static/*", "/static/a;v=1", False),
        ("/static/*", "/STATIC/app.css", True),
        ("/static/*", "//static/app.css", True),
        ("/Static/*", "/Static/app.css", False),
        ("/Static/*", "/static/app.css", True),
        ("*.css", "/shop;.css", True),
        ("*.css", "/shop?.css", True),
        ("*.css", "/shop\0.css", True),
        ("*.css", "shop.css", True),
        ("/.well-known/*", "/.well-known/acme-challenge/x", False),
    ],
)
@pytest.mark.parametrize("protect", ["/*", "*"])
def test_only_what_was_clearly_meant_is_excluded(protect: str, exclude: str, path: str, gated: bool) -> None:
    assert Paths([protect], [exclude]).gated(path) is gated


def test_nothing_is_gated_where_nothing_is_protected() -> None:
    paths = Paths([], ["/static/*"])
    assert not any(map(paths.gated, ["/", "", "/shop", "/static/x", "/%2e%2e/\0", "x", "/A" * KIB_64]))


# --- spellings --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "//shop/cart",
        "/shop//cart",
        "///shop///cart///",
        "/./shop/./cart/.",
        "/shop/x/../cart",
        "/../../shop/cart",
        "/pub/../shop/cart",
        "/pub//../shop/cart",
        "/pub/%2e%2e/shop/cart",
        "/pub/.%2E/shop/cart",
        "/pub/%252e%252e/shop/cart",
        "/pub/..%2fshop/cart",
        "/pub/..%252Fshop/cart",
        "/pub/..%5cshop/cart",
        "/pub/..\\shop\\cart",
        "\\shop\\cart",
        "/pub/\u2025\\shop\\cart",
        "/%73hop/cart",
        "/shop/%63art/%2e%2e/..",
        "/%2573hop/cart",
        "/%%37%33hop/cart",
        "/%25252525252573hop/cart",
        "/shop%2Fcart",
        "/shop%252Fcart",
        "/SHOP/Cart",
        "/shop/cart;jsessionid=1",
        "/shop;v=1/cart",
        "/shop/cart;%2fpub",
        "/pub/..;/shop/cart",
        "/pub;/../shop/cart",
        "/pub/;/../shop/cart",
        "/shop/cart?x",
        "/shop/cart#x",
        "/shop/cart.",
        "/shop./cart",
        "/shop./cart. . ",
        "/shop/cart ",
        "/pub/.. /shop/cart",
        "/pub/.../shop/cart",
        "/shop/cart\0",
        "/shop/cart\0.png",
        "/shop/ca\trt",
        "/shop/cart\n",
        "/shop/cart\x85",
        "/shop/cart%00",
        "/shop/cart\udce9",
        "/shop/\ud800cart",
        "/shop\ufffd/cart",
        "/pub/\udcc0\udcae./shop/cart",
        "/pub/%c0%ae%c0%ae/shop/cart",
        "/pub/%u002e%u002e/shop/cart",
        "/pub/%u9f9f/shop/cart",
        "/\u017fhop/cart",
        "/\uff33\uff28\uff2f\uff30/cart",
        "\uff0fshop/cart",
        "/pub/\u2025\uff0fshop/cart",
        "/pub/\uff05\uff12\uff45./shop/cart",
        "/sh\u00adop/ca\u200brt",
        "http://shop.example/shop/cart",
        "//shop.example/shop/cart",
        "/\\shop.example/shop/cart",
        "/x/..//shop.example//shop/cart",
        "/pub\\x/../shop/cart",
        "/pub\uff0fx/../shop/cart",
        "/pub\uff0fx/..\u200b/shop/cart",
        "/pub#/../shop/cart?x",
        "/pub%3Fx/../shop%2f. /cart",
        "/x%2f..%2fshop/cart. /%2e",
        "//A" * 100,  # in more ways than anybody looks at
        "*",
        "/x" * LONGEST_SPELLING + "/.." * LONGEST_SPELLING + "/shop/cart",
    ],
)
def test_another_spelling_of_a_protected_path_is_gated(path: str) -> None:
    assert Paths(["/shop/cart"], ["/pub/*", "*.png"]).gated(path)


@pytest.mark.parametrize(
    "path",
    [
        "/Pub",
        "/shop/cart/../../pub",
        "/shopping/cart",
        "/%2573hoe/cart",
        "/%" + "25" * (MOST_ROUNDS - 1) + "73hoe/cart",
        "/my shop/cart",
        "/caf\u00e9/\u5546\u5e97",
        "/files/a;v=1",
        "/what%3F",
        "/100%25",
        "/.well-known/acme",
        "/v1.0/x...y",
        "/pub//x/./y/",
        "/pub/.",
        "/pub/x/..",
    ],
)
def test_what_no_server_reads_as_a_protected_path_is_left_alone(path: str) -> None:
    assert not Paths(["/shop/cart"], []).gated(path)


@pytest.mark.parametrize(
    "path",
    ["/caf\u00e9", "/cafe\u0301", "/CAF\u00c9", "/caf%C3%A9", "/caf%25C3%25A9", "/x\\..\\caf\u00e9"],
)
@pytest.mark.parametrize("pattern", ["/caf\u00e9", "/CAFE\u0301"])
def test_a_pattern_may_be_written_in_any_script_and_case(pattern: str, path: str) -> None:
    assert Paths([pattern], []).gated(path)


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("", "/"),
        ("/", "/"),
        ("shop", "/shop"),
        ("/shop", "/shop"),
        ("/shop/", "/shop/"),
        ("/SHOP//Cart/./x/..", "/shop/cart/"),
        ("/..", "/"),
        ("/a/.", "/a/"),
        ("/../../a/../b", "/b"),
        ("/pub/%252e%252e%252fshop;x", "/shop"),
        ("/a. /b .", "/a/b"),
        ("\\a\\..\\b", "/b"),
        ("/\u212a\u00df", "/kss"),
        ("/a;x\ny", "/a"),
    ],
)
def test_the_normalised_form_takes_every_step(path: str, normal: str) -> None:
    assert normalise(path) == normal


def test_what_servers_end_a_path_at_or_leave_out_is_gated_and_in_no_pattern() -> None:
    for code in (*range(0x20), *range(0x7F, 0xA0), 0xD800, 0xDBFF, 0xDC00, 0xDFFF, 0xFFFD):
        assert Paths(["/shop"], ["/pub/*"]).gated(f"/pub/{chr(code)}x"), hex(code)
        with pytest.raises(SettingsError, match="must not contain"):
            check_pattern(f"/shop{chr(code)}x")


def test_a_host_alone_leaves_the_root() -> None:
    assert Paths(["/"], []).gated("//host")
    assert not Paths(["/"], []).gated("/host")


def test_a_step_up_beside_an_escape_is_no_honest_link() -> None:
    assert Paths(["/shop"], []).gated("/x/../%61")
    assert not Paths(["/shop"], []).gated("/x/../a")
    assert not Paths(["/shop"], []).gated("/x/%61")


def test_no_path_is_the_root() -> None:
    assert read("").folded == read("").exact == {"/"}


def encoded(text: str) -> str:
    return "".join(f"%{ord(char):02x}" for char in text)


# Each takes a path and a place in it, and returns what some server reads as the same path.
Respelling = Callable[[str, int], str]
RESPELLINGS: Sequence[Respelling] = [
    lambda path, _: path.upper(),
    lambda path, _: path + "/",
    lambda path, _: path + "/.",
    lambda path, _: path + ". ",
    lambda path, _: path + ";jsessionid=1",
    lambda path, _: path + "\0.png",
    lambda path, _: path.replace("/", "\\"),
    lambda path, _: path.replace("/", "//"),
    lambda path, _: path.replace("/", "/./"),
    lambda path, _: path.replace("/", "/x/../"),
    lambda path, _: path.replace("/", ";a=b/"),
    lambda path, _: path.replace("/", ". /"),
    lambda path, _: "/pub/.." + path,
    lambda path, _: "/../.." + path,
    lambda path, _: quote(path, safe="/%"),
    lambda path, _: path.replace("%", "%25"),
    lambda path, _: path.replace(".", "%2e"),
    lambda path, _: path[:1] + path[1:].replace("/", "%2F"),
    lambda path, at: (
        path[:at] + encoded(path[at : at + 1]) + path[at + 1 :] if path[at : at + 1].isascii() else path
    ),
    lambda path, at: path[:at] + "\u200b" + path[at:],
    lambda path, _: path.translate({code: code + 0xFEE0 for code in range(0x61, 0x7B)}),
    lambda path, _: unicodedata.normalize("NFD", path),
    lambda path, _: unicodedata.normalize("NFC", path),
]


@pytest.mark.parametrize("pattern", ["/shop/cart", "/shop/*", "/*/cart", "*/CART/", "/shop*"])
@given(st.lists(st.tuples(st.sampled_from(RESPELLINGS), st.integers(1, 40)), max_size=6))
def test_no_respelling_of_a_protected_path_gets_by(
    pattern: str, respellings: list[tuple[Respelling, int]]
) -> None:
    path = "/shop/cart"
    for respell, place in respellings:
        path = respell(path, place)
    assert Paths([pattern], ["/pub/*", "*.png", *DEFAULT_EXCLUDE]).gated(path)
    assert Paths(["/*"], ["/pub/*", "*.png", *DEFAULT_EXCLUDE]).gated(path)


# --- whatever comes ---------------------------------------------------------------------------


@given(any_text | pathlike, any_text)
@example("\ud800", "")
@example("/%", "/%")
@example("/%ff%00%u0041", "//")
def test_no_text_raises(path: str, root_path: str) -> None:
    for paths in (Paths(["/shop/*"], ["/pub/*"]), Paths(["/*"], DEFAULT_EXCLUDE), Paths([], ["*"])):
        assert paths.gated(path) in (True, False)
        assert paths.gated(strip_root(path, root_path)) in (True, False)
    assert normalise(path).startswith("/")


@given(pathlike | st.builds("/a{}".format, pathlike))
def test_what_goes_free_is_excluded_as_written_and_normalised(path: str) -> None:
    if not Paths(["/*"], ["/a/*", "*.A"]).gated(path):
        assert any(matches(pattern, path) for pattern in ("/a/*", "*.A"))
        assert any(matches(pattern, normalise(path)) for pattern in ("/a/*", "*.a"))


@given(pathlike)
def test_what_is_protected_as_written_or_normalised_is_gated(path: str) -> None:
    if matches("/a*b", path) or matches("/a*b", normalise(path)):
        assert Paths(["/A*b"], []).gated(path)


def test_folding_once_is_enough_for_every_character() -> None:
    chars = map(chr, range(sys.maxunicode + 1))
    foldable = [
        char for char in chars if char.casefold() != char or unicodedata.normalize("NFKD", char) != char
    ]
    folded = [normalise(f"/x{char}x") for char in foldable]
    assert list(map(normalise, folded)) == folded


@pytest.mark.parametrize("rounds", range(MOST_ROUNDS + 3))
def test_however_often_it_is_encoded_it_is_gated(rounds: int) -> None:
    assert Paths(["/shop"], []).gated("/%" + "25" * rounds + "73hop")


# Were any of these more than linear, they would take minutes: that they come back is the test.
@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "A",
        "/",
        "/a",
        "/.",
        "/..",
        "/../a",
        "%2e",
        "%25",
        ";",
        ". ",
        ".",
        "ab/",
        "\u0301\u0316",
        "\0",
        "\ufdfa",
    ],
)
def test_an_overlong_path_is_read_in_linear_time(unit: str) -> None:
    path = "/" + unit * (KIB_64 // len(unit))
    for paths in (
        Paths(["*a*a*a*a*a*a*z"], ["/*/*/*/*/*/*/z"]),
        Paths(["/*"], ["*a*a*a*a*a*a*", "/*.*.*.*.*.z"]),
    ):
        assert paths.gated(path) in (True, False)
    assert normalise(path)
    assert strip_root(path, "/app")


def test_an_overlong_path_is_still_matched_as_it_is_written() -> None:
    paths = Paths(["/shop/*"], ["/shop/img/*"])
    assert paths.gated("/shop/" + "a" * KIB_64)
    assert not paths.gated("/shop/img/" + "a" * KIB_64)
    assert not paths.gated("/blog/" + "a" * KIB_64)
    assert paths.gated("/blog//" + "a" * KIB_64), "too long to look for other readings"
    assert not paths.gated("/blog/" + "A" * KIB_64), "the same in other letters"
    assert paths.gated("/Shop/" + "A" * KIB_64)


def test_the_longest_path_that_is_read_in_other_spellings() -> None:
    longest = "/a//" + "A" * (LONGEST_SPELLING - 4)
    assert not Paths(["/shop/*"], []).gated(longest)
    assert Paths(["/shop/*"], []).gated(longest + "A")


# --- what the server has decoded -----------------------------------------------------------------


@pytest.mark.parametrize(
    "raw_path",
    [
        b"/pub%2fx/../shop/cart",
        b"/pub%2Fx/%2e%2e/shop/cart",
        b"/pub%5Cx/../shop/cart",
        b"/shop/%2e%2E/../cart",
        b"/shop%2fcart",
        b"/pub%2f..%2fshop/cart",
    ],
)
def test_what_stands_behind_may_look_for_folders_before_it_decodes(raw_path: bytes) -> None:
    sent = as_sent(raw_path)
    assert sent is not None
    assert Paths(["/shop/cart"], ["/pub/*"]).gated(sent)


def test_an_escaped_slash_leads_out_of_what_is_excluded_where_it_is_a_letter() -> None:
    paths = Paths(["/shop/*"], ["/shop/img/*"])
    sent = as_sent(b"/shop/img%2f7")
    assert sent == "/shop/img%2f7"
    assert paths.gated(sent)
    assert not paths.gated("/shop/img/7")


@pytest.mark.parametrize(
    "raw_path", [b"", b"/shop", b"/caf%c3%a9", b"/100%25", b"/what%3f", b"/%zz", b"/\xff"]
)
def test_where_no_folder_can_be_hidden_the_decoded_path_is_all(raw_path: bytes) -> None:
    assert as_sent(raw_path) is None


def test_escapes_of_folders_are_left_as_they_came_and_others_decoded() -> None:
    assert as_sent(b"/caf%c3%a9%2F%41%2e%5c%25/%ff") == "/caf\u00e9%2FA%2e%5c%/\ufffd"


# --- root path --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "root_path", "below"),
    [
        ("/shop", "", "/shop"),
        ("/shop", "/", "/shop"),
        ("", "", ""),
        ("/app/shop", "/app", "/shop"),
        ("/app/shop", "/app/", "/shop"),
        ("/app//shop", "/app/", "/shop"),
        ("/app/", "/app/", "/"),
        ("//shop", "/", "/shop"),
        ("/app", "/app", "/"),
        ("/app", "/app/", "/"),
        ("/app/", "/app", "/"),
        ("/X/shop", "/X", "/shop"),
        ("/app//shop", "/app", "//shop"),
        ("/application", "/app", "/application"),
        ("/shop", "/app", "/shop"),
        ("/APP/shop", "/app", "APP/shop"),
        ("//app/shop", "/app", "app/shop"),
        ("/x/../app/shop", "/app", "x/../app/shop"),
        ("/X/../app/shop", "/app", "X/../app/shop"),
    ],
)
def test_the_root_path_is_taken_off_in_whole_segments(path: str, root_path: str, below: str) -> None:
    assert strip_root(path, root_path) == below


@pytest.mark.parametrize(
    "path", ["/app/shop", "//app/shop", "/APP/shop", "/%61pp/shop", "/x/../app/shop", "\\app\\shop"]
)
def test_a_respelt_root_path_hides_nothing(path: str) -> None:
    assert Paths(["/shop"], ["/x/*"]).gated(strip_root(path, "/app"))


# --- patterns that say nothing ----------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern", ["/", "*", "/*", "/shop", "/Shop/*", "*.php", "/.*", "/v1.*", "/a b", "/caf\u00e9", "/100%"]
)
def test_a_plain_pattern_is_fine(pattern: str) -> None:
    check_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        ("", 'must start with "/" or "*"'),
        ("shop", 'must start with "/" or "*"'),
        ("https://shop.example/", 'must start with "/" or "*"'),
        ("/shop?x=1", r"must not contain '\?'"),
        ("/shop\uff1f", r"must not contain '\?'"),
        ("/shop#top", "must not contain '#'"),
        ("/shop;v=1", "must not contain ';'"),
        ("/shop\\cart", r"must not contain '\\\\'"),
        ("/shop\n", r"must not contain '\\n'"),
        ("/shop\udce9", r"must not contain '\\udce9'"),
        ("/caf%C3%A9", "write it decoded"),
        ("//shop", 'without "//"'),
        ("*//shop", 'without "//"'),
        ("/shop/../cart", 'without "." or ".."'),
        ("/shop/.", 'without "." or ".."'),
        ("/shop./cart", "ending in a dot or a space"),
        ("/shop ", "ending in a dot or a space"),
    ],
)
def test_a_pattern_that_could_not_match_is_refused_in_one_line(pattern: str, complaint: str) -> None:
    for refuse in (check_pattern, lambda bad: Paths([bad], []), lambda bad: Paths([], [bad])):
        with pytest.raises(SettingsError, match=complaint) as refusal:
            refuse(pattern)
        assert str(refusal.value).startswith(repr(pattern))
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        (
            "shop",
            '\'shop\' is not a path pattern: it must start with "/" or "*", as "/shop/*" does',
        ),
        (
            "/shop?x=1",
            "'/shop?x=1' is not a path pattern: it must not contain '?'; leave out query, fragment, parameters,"
            ' backslashes and control characters, and use "*" for what may follow',
        ),
        (
            "//shop",
            '\'//shop\' is not a path pattern: write it decoded ("é", not "%C3%A9"), without "//",'
            ' without "." or ".." as a segment, and no segment ending in a dot or a space',
        ),
    ],
)
def test_a_refusal_says_what_is_wrong_and_what_to_write(pattern: str, told: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        check_pattern(pattern)
    assert str(refusal.value) == told


# --- patterns of several rooms ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/shop", "/shop"),
        ("/shop", "/SHOP/"),
        ("/shop/*", "/shop/**"),
        ("*", "/*"),
        ("/**", "*"),
        ("*.php", "**.PHP"),
        ("/caf\u00e9", "/CAFE\u0301"),
        ("/", "/"),
    ],
)
def test_patterns_that_protect_the_same_are_found(one: str, other: str) -> None:
    assert same_paths(["/blog", one, other], [other, "/news"]) == one
    assert same_paths([other], [one]) == other


@pytest.mark.parametrize(
    ("one", "other"),
    [("/shop", "/shop/*"), ("/shop", "/shop*"), ("/", "/*"), ("*/shop", "/shop"), ("/shop", "/shopping")],
)
def test_patterns_that_protect_something_else_are_not_the_same(one: str, other: str) -> None:
    assert same_paths([one], [other]) is None
    assert same_paths([other, one], []) is None
