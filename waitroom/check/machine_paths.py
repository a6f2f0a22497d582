"""What a path looks like that programs ask for, or that other sites send visitors to, by its words alone.

Such a path does badly behind a gate: whoever asks keeps no cookies, comes from another site, or draws conclusions from
a 503. Each kind says which. What a path is really for only its owner knows; these are guesses, for `waitroom check`.
"""

import re
from dataclasses import dataclass
from typing import Literal

WORDS = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of path: what it looks like, why gating it is trouble, and who comes there."""

    looks_like: str
    trouble: str
    comers: Literal["programs", "browsers from other sites"] = "programs"


ROBOTS = Kind(
    "what search engines ask before all else",
    "held with a 503, and then some of them read nothing of the site",
)
CRAWLERS = Kind(
    "a file that search engines and the like read",
    "held whenever there is a line, and then they do without it",
)
CERTIFICATES = Kind(
    "the check of a certificate authority",
    "held whenever there is a line, and then the certificate is not renewed",
)
PROBES = Kind(
    "a health check",
    "held whenever there is a line, so the site is taken for down just then",
)
METRICS = Kind("what monitoring reads", "held whenever there is a line, so the figures are missing just then")
WEBHOOKS = Kind(
    "a call by another server",
    "such a server keeps no cookies, so it is held whenever there is a line",
)
WORKERS = Kind(
    "a service worker's script",
    "visitors who wait cannot load it, so an old one stays, which may go on showing them what it has kept",
)
MANIFESTS = Kind(
    "a file that browsers fetch by themselves",
    "many ask for it without cookies, so that also visitors inside get a 503 whenever there is a line",
)
LOGINS = Kind(
    "a return from a login page",
    "where that page {how} from another site, the browser keeps a SameSite={samesite} cookie back and the visitor is "
    "held with a code that is good only once",
    "browsers from other sites",
)
PAYMENTS = Kind(
    "a return from a payment page",
    "where that page {how} from another site, the browser keeps a SameSite={samesite} cookie back and the visitor is "
    "held",
    "browsers from other sites",
)

_BELOW = r"(/(api|app|internal|system|service|actuator|management|monitoring|v[0-9]+|-|q))*"
"""Folders in which probes are found; elsewhere `health` may be what an article is about."""
_CERTAIN = [
    (CERTIFICATES, r"/\.well-known/(acme-challenge|pki-validation)(/.*)?"),
    (ROBOTS, r"/robots\.txt"),
    (CRAWLERS, r"/(ads|app-ads|llms|humans|security)\.txt|.*/sitemap[^/]*\.(xml|txt)(\.gz)?"),
    (
        MANIFESTS,
        r".*/(favicon[^/]*\.(ico|png|svg)|apple-touch-icon[^/]*\.png|[^/]*\.webmanifest|manifest\.json"
        r"|browserconfig\.xml|apple-app-site-association|assetlinks\.json)",
    ),
    (
        WORKERS,
        r".*/(sw|[^/]*[._-]sw|service[._-]?worker|ngsw-worker|onesignalsdk(updater)?worker)(\.min)?\.m?js",
    ),
    (METRICS, _BELOW + r"/(metrics|prometheus|federate)(/.*)?"),
    (
        PROBES,
        _BELOW
        + r"/_?(health(z|y|[_-]?check)?|live(z|ness)|alive|ready(z|ness)?|started|startup(z)?|ping|heartbeat)"
        r"(\.(php|html?|txt|json|aspx?)|/.*)?|/(up|live|status|nginx_status|server-status)/?",
    ),
]
"""Kinds that the whole path shows, whatever its case."""

_SIGNS_IN = re.compile(
    r"sso|acs|saml2?|oidc|openid|oauth2?|shibboleth|adfs|sign(in|out)oidc|[a-z0-9]*(login|auth|sso)callback"
)
"""Words that nothing but a login has."""
_MAY_SIGN_IN = re.compile(r"login|logged|signin|signout|auth|authorize|authenticate")
_RETURNS = re.compile(
    r"callback|return|complete|code|redirect|authorized|google|github|microsoft|apple|facebook|handler"
)
_PROVIDERS = re.compile(
    r"stripe|paypal|adyen|mollie|klarna|braintree|worldpay|checkoutcom|razorpay|payu|twilio|sendgrid|mailgun|postmark|"
    r"github|gitlab|bitbucket|slack|shopify|paddle|chargebee|gocardless|przelewy24|wechatpay|alipay|squareup"
)
_HOOKS = re.compile(r"[a-z0-9]*webhooks?")
_CALLED = re.compile(r"hooks?|ipn|notify|notifications?|postback|callback")
_RETURNED_TO = re.compile(r"callback|return|success|complete|confirm|3ds|3dsecure|payment|cancel")


def kinds_of(path: str) -> list[Kind]:
    """What a path looks like: nothing, one kind, or two where its words leave that open."""
    folded = path.lower()
    for kind, pattern in _CERTAIN:
        if re.fullmatch(pattern, folded):
            return [kind]
    words = WORDS.findall(folded)

    def has(pattern: re.Pattern[str]) -> bool:
        return any(map(pattern.fullmatch, words))

    if has(_HOOKS):
        return [WEBHOOKS]
    if has(_SIGNS_IN) or (has(_MAY_SIGN_IN) and has(_RETURNS)):
        return [LOGINS]
    is_called = has(_CALLED) or any(map(_PROVIDERS.fullmatch, folded.split("/")))
    return [WEBHOOKS] * is_called + [PAYMENTS] * has(_RETURNED_TO)
