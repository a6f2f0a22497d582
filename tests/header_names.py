"""Names of headers: in which proxies speak of address, URL and method; and those that are none of their business."""


def _words(text: str) -> list[str]:
    return text.split()


ADDRESS = _words("""
    Ali-CDN-Real-IP CDN-Src-IP CF-Connecting-IP CF-Connecting-IPv6 CF-Pseudo-IPv4 Client-IP CloudFront-Viewer-Address
    Cluster-Client-IP DO-Connecting-IP EO-Connecting-IP Fastly-Client-IP Fly-Client-IP Forwarded Forwarded-For
    HTTP-Client-IP HTTP-X-Forwarded-For Incap-Client-IP Proxy-Client-IP Real-IP Remote-Addr True-Client-IP
    WL-Proxy-Client-IP X-Appengine-Remote-Addr X-Appengine-User-IP X-Azure-ClientIP X-Azure-SocketIP X-CDN-Src-IP
    X-Client-Address X-Client-Host X-Client-IP X-Client-Port X-ClientIP X-Cluster-Client-IP X-Custom-IP-Authorization
    X-Envoy-External-Address X-Forward-For X-Forwarded X-Forwarded-By X-Forwarded-For X-Forwarded-Client-Cert
    X-Google-Real-IP X-Host-IP X-IP X-Middleware-IP X-MS-Forwarded-Client-IP X-NF-Client-Connection-IP
    X-Original-Forwarded-For X-Original-For X-Original-Remote-Addr X-Originating-IP X-Peer-IP X-ProxyUser-Ip X-Real-IP
    X-Peer X-IP-Trail X-Client-IP-Trail
    X-Remote-Addr X-Remote-IP X-Source-IP X-Sucuri-ClientIP X-True-IP X-User-IP X-Vercel-Forwarded-For
    X-Vercel-Proxied-For X-Coming-From X-Server-Addr
""")
URL = _words("""
    Authority X-Authority X-Domain X-Forwarded-Authority X-Request-Target X-Route X-Route-Path X-Routed-URL
    X-Target-URL X-Target-URI X-Target-Path X-Full-URL X-Absolute-URI X-Abs-Path X-Api-Path X-Internal-URL
    X-Proxied-Host
    X-Tenant-Host X-Varnish-Host X-Public-URL X-Site-URL X-App-URL X-Service-Path X-Origin-Host X-Frontend-Host
    X-Edge-Host X-CDN-Host X-LB-Host X-Effective-URL X-Canonical-Host X-Incoming-URL X-Inbound-Host X-Initial-URI
    X-Middleware-Rewrite X-Middleware-Subrequest X-Middleware-Redirect X-Now-Route-Matches X-Invoke-Output
    X-Auth-Request-Redirect
    Base-URL X-Base-Path X-Gateway-Host X-Path-Base X-Virtual-Host X-Matched-Path X-Req-URL
    CloudFront-Forwarded-Proto CF-Visitor Disguised-Host Fastly-Orig-Host Fastly-SSL Fly-Forwarded-Port
    Front-End-Https HTTP-Host HTTPS IIS-WasUrlRewritten Path-Info Request-URI Script-Name Unencoded-URL WL-Proxy-SSL
    X-Accel-Mapping X-Amzn-Remapped-Host X-AppService-Proto X-ARR-SSL X-Backend-Host X-Base-URL X-Context-Path
    X-Envoy-Original-Path X-External-Host X-Forwarded-Host X-Forwarded-Path X-Forwarded-Port X-Forwarded-Prefix
    X-Forwarded-Proto X-Forwarded-Scheme X-Forwarded-Server X-Forwarded-Ssl X-Forwarded-URI X-Front-End-Https X-Host
    X-Host-Override X-HTTP-DestinationURL X-HTTP-Host-Override X-HTTP-Path-Override X-HTTPS X-Ingress-Path
    X-MS-Original-URL X-Original-Host X-Original-Path X-Original-Proto X-Original-Scheme X-Original-URI X-Original-URL
    X-Override-URL X-Path X-Path-Info X-Port X-Prefix X-Proto X-Protocol X-Proxy-Host X-Proxy-URL X-Real-Host
    X-Real-Scheme X-Replaced-Path X-Request-URI X-Request-URL X-Rewrite-URI X-Rewrite-URL X-Rewritten-URL X-Scheme
    X-Script-Name X-Sendfile-Type X-Server-Name X-SSL X-URI X-URL X-URL-Scheme X-WAWS-Unencoded-URL
""")
METHOD = _words("""
    X-HTTP-Override X-REST-Method X-HTTP-Action X-Action-Method HTTP-Override X-Effective-Method
    Override-Method Proxy HTTP-X-HTTP-Method X-Tunnel-Method
    X-Forwarded-Method X-HTTP-Method X-HTTP-Method-Override X-HTTP-Verb-Override X-Method
    X-Method-Override X-Original-Method X-Request-Method
""")
HEARSAY = [*ADDRESS, *URL, *METHOD]

GENUINE = _words("""
    X-Client X-Location X-Action X-Source-URL X-Webhook-URL X-Callback-Path X-Shopify-Shop-Domain X-Domain-Id X-Site
    X-Api-Key X-App-Version X-Middleware-Prefetch X-Nextjs-Data X-Goog-Resource-URI X-Target-Language
    Accept Accept-Language Access-Control-Request-Headers Access-Control-Request-Method CDN-Loop CF-IPCountry CF-Ray
    Cache-Control Content-Disposition Content-Encoding Depth Destination Early-Data HX-Current-URL HX-Target
    If-None-Match Idempotency-Key Last-Event-ID Max-Forwards Next-URL
    Origin Prefer Range Referer Sec-Fetch-Site Sec-GPC Signature
    Stripe-Signature Traceparent Turbo-Frame Upgrade-Insecure-Requests Upload-Offset User-Agent Via X-Amzn-Trace-Id
    X-Api-Version X-CSRF-Token X-Client-Data X-Client-Id X-Client-Version X-Correlation-ID X-Email-Address X-Filename
    X-Hub-Signature-256 X-Inertia X-Livewire X-PJAX X-Payment-Method X-Relationship X-Request-ID
    X-Requested-With X-Shipping-Address X-Tenant-Id X-Trip X-Up-Target X-XSRF-TOKEN X-Zip
""")
IDENTITY = _words("""
    Remote-User SSL-Client-Verify X-Auth-Request-User X-Goog-Authenticated-User-Email X-MS-Client-Principal-Name
    X-Remote-User X-SSL-Client-Cert X-SSL-Client-S-DN X-SSL-Client-Verify
""")
"""Who the visitor is, as something in front says that has asked: the proxy passes it on, from whomever it comes."""
