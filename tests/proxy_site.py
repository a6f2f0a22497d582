"""The gate's proxy as an app for any server: before the site that `UPSTREAM` names."""

import os

from waitroom import WaitingRoomMiddleware
from waitroom.proxy.proxy import Proxy

app = WaitingRoomMiddleware(Proxy(os.environ["UPSTREAM"], 10))
