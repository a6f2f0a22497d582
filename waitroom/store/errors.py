"""What went wrong with the store, in one line: where, what it said, and what to do about it."""

import re
import ssl
from collections.abc import Iterator, Sequence

from redis import exceptions
from redis.asyncio.sentinel import MasterNotFoundError

from waitroom.config.store_url import shown_url
from waitroom.errors import StoreError, StoreUnusableError

RIGHTS = "the documentation has the line that gives all it needs, in docs/stores.md"
DENIED = ("ACL failure in script", "The user executing the script can't")
DENIED_AT = re.compile(r"on @user_script: ?(\d+)")
COMMAND = re.compile(r"redis\.call\(\s*'(\w+)'")

IS_NODE = "is a node of a cluster: use {redis}+cluster:// in place of {redis}://"
IS_SENTINEL = (
    "is a sentinel: use {redis}+sentinel://host:port/service, with the name that it knows the store by"
)
NO_SENTINEL = "is no sentinel: use {redis}:// for a single server, {redis}+cluster:// for a cluster"
NO_CLUSTER = "is no node of a cluster: use {redis}:// for a single server, {redis}+sentinel:// for sentinels"
WANTS_CERTIFICATE = (
    "wants a certificate of its clients: name one with ssl_certfile and its key with ssl_keyfile"
)
SAID = (
    ("SELECT is not allowed in cluster mode", IS_NODE),
    ("unknown command 'SELECT'", IS_SENTINEL),
    ("unknown command 'SENTINEL", NO_SENTINEL),
    ("unknown command 'CLUSTER", NO_CLUSTER),
    ("This instance has cluster support disabled", NO_CLUSTER),
    ("DB index is out of range", "has no database of that number: name another behind the host"),
    ("CERTIFICATE_REQUIRED", WANTS_CERTIFICATE),
)
"""What a server says that is none for this URL, and what to do then."""

EXPIRED, NOT_YET, OTHER_NAME, OTHER_ADDRESS = 10, 9, 62, 64
"""OpenSSL's numbers of what is wrong with a certificate."""


def unfit(url: str, advice: str) -> StoreUnusableError:
    """Say what is wrong with a store, and what to do, with the URLs of the advice as TLS or its absence has them."""
    redis = "rediss" if url.startswith("rediss") else "redis"
    return StoreUnusableError(f"the store at {shown_url(url)} {advice.format(redis=redis)}")


def explained(error: BaseException, url: str, script: str = "") -> StoreError:
    """Tell an error of the client's; `script` is the text of the script that was called."""
    where = f"the store at {shown_url(url)}"
    for cause in _chain(error):
        told = str(cause).partition("\n")[0]
        if isinstance(cause, exceptions.AuthenticationError):
            return StoreUnusableError(f"{where} refused the user or password of WAITROOM_REDIS_URL: {told}")
        if _is_denial(cause, told):
            missing = _missing_right(told, script)
            return StoreUnusableError(f"{where} doesn't let this user do what it must: {missing}; {RIGHTS}")
        if isinstance(cause, ssl.SSLCertVerificationError):
            return StoreUnusableError(f"{where} {_certificate(cause)}")
        if isinstance(cause, exceptions.MovedError) and "+cluster" not in url.partition("://")[0]:
            return unfit(url, IS_NODE)
        for words, advice in SAID:
            if words in told:
                return unfit(url, advice)
    if isinstance(error, exceptions.RedisClusterException) and error.__cause__:
        error = error.__cause__  # what happened, without what the client thinks of it
    said = str(error).partition("\n")[0]
    if isinstance(error, MasterNotFoundError):
        return StoreError(f"{where} can't be reached: no sentinel names a primary just now")
    if "TTL exhausted" in said:
        return StoreError(f"{where} is moving this room from one node to another just now")
    if isinstance(error, exceptions.ResponseError):
        return StoreError(f"{where} answered with an error: {said}")
    return StoreError(f"{where} can't be reached: {said}")


def denied(commands: Sequence[str], url: str) -> StoreUnusableError:
    """Tell which commands of the scripts a user of the store may not call."""
    may_not = f"it may not call {', '.join(map(repr, commands))}"
    return StoreUnusableError(
        f"the store at {shown_url(url)} doesn't let this user do what it must: {may_not}; {RIGHTS}"
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Go from an error to what it came of: what refuses in the midst of connecting arrives wrapped."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_denial(error: BaseException, said: str) -> bool:
    return isinstance(error, exceptions.NoPermissionError | exceptions.AuthorizationError) or said.startswith(
        DENIED
    )


def _missing_right(said: str, script: str) -> str:
    """Name the command: some servers tell no more of a denial inside a script than its line."""
    at = DENIED_AT.search(said)
    from_there = script.splitlines()[int(at[1]) - 1 :] if at else []
    if said.startswith(DENIED[1]) and (command := COMMAND.search("\n".join(from_there))):
        return f"the script may not run the '{command[1].lower()}' command"
    return said


def _certificate(error: ssl.SSLCertVerificationError) -> str:
    why = error.verify_message
    if error.verify_code in (OTHER_NAME, OTHER_ADDRESS):
        return f"has a certificate for another name ({why}): connect by a name that is in it"
    if error.verify_code in (EXPIRED, NOT_YET):
        return f"has a certificate out of its time ({why}): renew it, or set the clock"
    return (
        f"has a certificate that doesn't verify ({why}): "
        "name the authority that signed it with ssl_ca_certs=/path/to/ca.pem behind the ?"
    )
