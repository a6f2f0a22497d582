"""Headers in which a proxy in front would say what was asked for and by whom: coming from a visitor they are hearsay.

Frameworks, servers and CDNs each have names of their own for the client's address, the method and the parts of the
URL. They are known here by the words that they are made of, as no list of them is ever complete.
"""

import re
from functools import lru_cache

LONGEST_NAME = 100
"""No such header has a longer name; what is longer costs nothing to look at."""

# The client's address: `CF-Connecting-IP`, `X-ProxyUser-Ip`, `X-Azure-ClientIP`, `CloudFront-Viewer-Address`.
_WHOSE = (
    "(?:client|cluster|connecting|external|originating|peer|real|remote|server|socket|source|src|true|user"
    "|viewer|visitor)"
)
_ADDRESS = rf"""
    x-peer | (?:.*-)?ip-trail
  | (?:.*-)?{_WHOSE}?ip(?:s|v[46])?(?:-addr(?:ess)?|-port|-authorization)?
  | (?:.*-)?{_WHOSE}-?(?:addr|address|host|port)
"""
# `Forwarded`, `X-Forwarded-Prefix`, `X-Forward-For`, `Fly-Forwarded-Proto`, but not `Max-Forwards`, which is HTTP's.
_FORWARDED = r".*forward(?:ed|er)?(?!s|ing).* | .*-proxied-for | (?:x-)?coming-from"
# Parts of the URL: `X-Original-URL`, `X-Rewrite-URI`, `X-HTTP-Host-Override`, `X-Script-Name`, `X-Ingress-Path`.
_PART = (
    "(?:base-?url|host(?:-?name)?|http-?host|path(?:-?info|-translated|-prefix|-base)?|port|prefix|proto(?:col)?"
    "|query(?:-string)?|request-uri|root-path|scheme|script-name|server-(?:name|port)|ur[il](?:-scheme)?|vhost)"
)
_CHANGED = (
    "(?:application|backend|base|context|disguised|external|gateway|ingress|invoke|matched|mount|override"
    "|orig(?:inal|inated)?|proxy|raw|real|remapped|replaced|req(?:uest|uested)?|rewrit(?:e|ten)|script|server"
    "|sub|surrogate|unencoded|upstream|virtual)"
)
# Whole places, said by words that scripts use for much else: `X-Target-URL`, `X-Public-Host`, not `X-Api-Version`.
_PLACE = "(?:ur[il]|path|host(?:-?name)?|vhost|domain|authority)"
_SEEN = (
    "(?:abs(?:olute)?|api|app|canonical|cdn|edge|effective|front(?:-?end)?|full|inbound|incoming|initial|internal|lb"
    "|mapped|origin|outer|proxied|public|resolved|routed?|service|site|target|tenant|varnish)"
)
# `X-Middleware-Rewrite`, by which Next.js's middleware speaks to Next.js; its router sends `X-Middleware-Prefetch`.
_NEXT = r"x-middleware-(?!prefetch\Z).* | x-now-route-.* | x-invoke-.*"
_URL = rf"""
    (?:x-|http-|x-http-)?(?:{_PART}|authority)
  | (?:x-|http-|x-http-)?{_SEEN}-{_PLACE}
  | x-domain | x-route | (?:x-)?request-target | x-auth-request-redirect
  | {_NEXT}
  | (?:.*-)?{_CHANGED}-{_PART}
  | (?:.*-)?{_PART}-(?:override|rewrite)
  | x-(?:orig(?:inal)?|originating|rewrit(?:e|ten))-.*
  | (?:x-http-|http-)?destination-?url
  | x-accel-.* | x-sendfile-type | iis-wasurlrewritten
"""
# Whether the visitor spoke TLS: `Front-End-Https`, `X-ARR-SSL`, `WL-Proxy-SSL`, `CF-Visitor`.
_SCHEME = r"""
    (?:.*-)?https | (?:x-|x-arr-|wl-|fastly-|(?:x-)?front-end-|(?:x-)?proxy-|wl-proxy-)?(?:ssl|tls)
  | x-\w+-(?:proto|scheme) | cf-visitor
"""
# `X-HTTP-Method-Override`, `X-Method`; not CORS's `Access-Control-Request-Method`, nor a shop's `X-Payment-Method`.
_METHOD = r"""
    (?:.*-)?(?:method|verb)-override
  | (?:x-|http-)*(?:(?:actual|action|effective|original|override|request|real|rest|tunnel)-)?(?:method|verb)
  | (?:x-)?http-(?:override|action)
"""
# Whatever these vendors' proxies say; and `Proxy`, which a CGI takes for the setting `HTTP_PROXY`.
_VENDORS = r"(?:x-azure|x-envoy|x-appengine|cf-connecting|cf-pseudo)-.* | proxy"

_HEARSAY = re.compile("|".join((_ADDRESS, _FORWARDED, _URL, _SCHEME, _METHOD, _VENDORS)).encode(), re.VERBOSE)


def is_hearsay(name: bytes) -> bool:
    """Return whether a request's header, in lower case and with `-` alone, speaks of address, URL or method.

    What as well may be a script's own word (`X-Client`, `X-Location`) does not count, and neither does who a visitor is
    (`X-Remote-User`): no gate has judged by that.
    `Host`, `Origin` and `Referer` do not count: they are the browser's own, and every site knows whose they are.
    """
    return len(name) <= LONGEST_NAME and _is_hearsay(name)


@lru_cache(maxsize=1024)
def _is_hearsay(name: bytes) -> bool:
    return name != b"host" and _HEARSAY.fullmatch(name) is not None
