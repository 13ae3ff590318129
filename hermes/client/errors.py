"""What a client raises, by what a caller does about it. All have `code`, a message and a `hint`.

ClientError
├── ApiError         the server answered and said no: `status`, and its own code, message and hint
│   ├── Unauthorized     no token, or one that is not good any more: sign in again
│   ├── Forbidden        understood, and not allowed
│   ├── Missing          no such thing, or not visible to you
│   ├── TooLarge         the body is larger than the server takes
│   ├── TooOften         again after `wait_s`
│   └── ServerTrouble    the server's own fault; later it may work
├── NoServer         nothing answers there
│   └── TlsTrouble       it answers, and cannot prove who it is
├── BrokenOff        the connection ended in the middle; what was begun on the server goes on
└── OtherServer      what answers is no Hermes, or one with another API than this client's
"""

from hermes.errors import UserError


class ClientError(UserError):
    """Root of what a client raises."""

    code = "client"


class ApiError(ClientError):
    """The server said no, in its own words."""

    def __init__(self, message: str, hint: str = "", *, code: str = "", status: int = 0) -> None:
        super().__init__(message, hint)
        self.code = code or self.code
        self.status = status


class Unauthorized(ApiError):
    """The token is missing, wrong, revoked or expired."""


class Forbidden(ApiError):
    """Not allowed to this user."""


class Missing(ApiError):
    """Not there, or not visible to this user."""


class TooLarge(ApiError):
    """The body is larger than the server takes."""


class TooOften(ApiError):
    """Too many requests: again after `wait_s` seconds."""

    wait_s: float = 1.0


class ServerTrouble(ApiError):
    """The server's fault; `wait_s` says when to come back."""

    wait_s: float = 1.0


class NoServer(ClientError):
    """Nothing answers at the address."""

    code = "no_server"


class TlsTrouble(NoServer):
    """The certificate of the server is not trusted here, or it speaks no TLS."""

    code = "tls"


class BrokenOff(ClientError):
    """The connection ended before the answer did."""

    code = "broken_off"


class OtherServer(ClientError):
    """It answers, but not as a server with this client's API does."""

    code = "other_server"


def not_trusted(url: str, why: str) -> TlsTrouble:
    """Of its certificate."""
    hint = "a private authority: set SSL_CERT_FILE to its certificate; for git: http.sslCAInfo"
    return TlsTrouble(f"the certificate of {url} is not trusted: {why}", hint)


def no_tls(url: str, error: Exception) -> TlsTrouble:
    """It answers, in another way."""
    http = url.replace("https:", "http:", 1)
    return TlsTrouble(f"{url} does not speak TLS as it should: {error}", f"is it {http}?")


def silent(url: str) -> NoServer:
    """Nothing comes back."""
    return NoServer(f"{url} does not answer", "is the machine on, and in this network?")


def nobody(url: str, why: str) -> NoServer:
    """It says that there is nothing."""
    return NoServer(f"nothing answers at {url}: {why}", "is the address right, and the server up?")


def no_address(url: str, why: object) -> NoServer:
    """It cannot even be asked."""
    return NoServer(f"{url} cannot be asked: {why}", "write it as http://gpu.lab:8000")


def late(url: str) -> BrokenOff:
    """Its time is over."""
    return BrokenOff(f"{url} has not answered in time", "is it busy? try again")
