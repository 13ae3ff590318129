"""A real nginx and a real Caddy before an instance, with TLS, from the very files of docs/proxies."""

import os
import shutil
import signal
import ssl
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.conftest import missing
from tests.service import PATIENCE_S, Service, free_port, wait_for

DOCUMENTED = Path(__file__).parent.parent / "docs" / "proxies"
IDLE_S = 20  # how long a proxy of the tests waits for a byte from Hermes; documented: an hour


@dataclass
class Fronted(Service):
    """An instance as people behind its proxy see it: git and `browser` go there, the other verbs do not."""

    front_port: int = field(default_factory=free_port)
    plain_port: int = field(default_factory=free_port)
    idle_s: int = IDLE_S
    proxy: "subprocess.Popen[bytes] | None" = None
    http: str = "HTTP/2"  # what git speaks to the proxy; `dataclasses.replace` makes a view with another

    def __post_init__(self) -> None:
        """The proxy is the only one whose X-Forwarded headers are believed."""
        self.env |= {"HERMES_URL": self.front, "HERMES_PROXIES": "127.0.0.1"}

    @property
    def front(self) -> str:
        """What people type."""
        return f"https://localhost:{self.front_port}"

    @property
    def folder(self) -> Path:
        """Of the proxy."""
        return self.data.with_name(f"{self.data.name}-proxy")

    @property
    def authority(self) -> Path:
        """Who has signed the proxy's certificate."""
        raise NotImplementedError

    def push_command(
        self,
        repo: str,
        *options: str,
        refs: tuple[str, ...] = ("HEAD:main",),
        token: str | None = None,
        user: str = "",
    ) -> tuple[list[str], dict[str, str]]:
        """Through the proxy, by git's own settings."""
        command, env = super().push_command(repo, *options, refs=refs, token=token, user=user)
        words = [word.replace(self.url, self.front) for word in command]
        own = {"GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_1": "http.version", "GIT_CONFIG_VALUE_1": self.http}
        return words, env | own | {"GIT_SSL_CAINFO": str(self.authority), "no_proxy": "*"}

    def browser(self, address: str = "127.0.0.1", token: str = "") -> httpx.Client:
        """An HTTP client before the proxy, which sees it come from this address."""
        trusts = ssl.create_default_context(cafile=str(self.authority))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        way = httpx.HTTPTransport(verify=trusts, local_address=address)
        return httpx.Client(base_url=self.front, headers=headers, timeout=PATIENCE_S, transport=way)

    def configure(self) -> list[str]:
        """Write the proxy's files; returns its command."""
        raise NotImplementedError

    def start_proxy(self) -> None:
        """And wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        own = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(self.folder))
        env = os.environ | own
        with (self.folder / "output").open("ab") as output:
            self.proxy = subprocess.Popen(self.configure(), env=env, stdout=output, stderr=output)
        wait_for(self._proxy_is_up)

    def _proxy_is_up(self) -> bool:
        assert self.proxy is not None and self.proxy.poll() is None, (self.folder / "output").read_text()
        try:
            with self.browser() as client:
                return client.get("/healthz").status_code == 200
        except (httpx.TransportError, OSError):  # it does not listen, or has no certificate, yet
            return False

    def stop_proxy(self) -> None:
        """SIGTERM."""
        assert self.proxy is not None
        self.proxy.send_signal(signal.SIGTERM)
        self.proxy.wait(PATIENCE_S)


def filled_in(name: str, values: dict[str, str]) -> str:
    """The documented file with the values of this test; each one that it replaces is there."""
    text = (DOCUMENTED / name).read_text()
    for old, new in values.items():
        assert old in text, f"{old!r} is not in docs/proxies/{name}"
        text = text.replace(old, new)
    return text


def program(name: str) -> str:
    """Where it is; without it the test is left out."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        missing(f"{name} (scripts/ensure-clients)")
    return str(found)


class Nginx(Fronted):
    """Everything but the documented `server` blocks is what /etc/nginx/nginx.conf has otherwise."""

    @property
    def authority(self) -> Path:
        """It has signed itself."""
        return self.folder / "fullchain.pem"

    def configure(self) -> list[str]:
        """A self-signed certificate, and places of its own for all that nginx writes."""
        nginx, here = program("nginx"), self.folder
        make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
        files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", "privkey.pem", "-out", "fullchain.pem"]
        if not self.authority.exists():
            command = [program("openssl"), *make.split(), *files]
            subprocess.run(command, cwd=here, check=True, capture_output=True)
        site = filled_in(
            "nginx.conf",
            {
                "listen 80;": f"listen 127.0.0.1:{self.plain_port};",
                "listen 443 ssl": f"listen 127.0.0.1:{self.front_port} ssl",
                "server_name git.example.org;": "server_name localhost;",
                "/etc/ssl/git.example.org": str(here),
                "127.0.0.1:8000": f"127.0.0.1:{self.port}",
                "proxy_read_timeout 1h": f"proxy_read_timeout {self.idle_s}s",
            },
        )
        (here / "hermes.conf").write_text(site)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = "".join(f"{kind}_temp_path {here}/{kind};" for kind in kinds)
        (here / "nginx.conf").write_text(
            f"daemon off; worker_processes 1; pid {here}/pid; events {{}}\n"
            f"http {{ access_log off; {places}\ninclude {here}/hermes.conf; }}\n"
        )
        return [nginx, "-p", str(here), "-e", str(here / "output"), "-c", str(here / "nginx.conf")]


class Caddy(Fronted):
    """Its own authority signs, instead of a public one."""

    @property
    def authority(self) -> Path:
        """Made with the first start."""
        return self.folder / "store" / "pki" / "authorities" / "local" / "root.crt"

    def configure(self) -> list[str]:
        """Global options before the documented site: nothing outside this folder is touched or trusted."""
        own = (
            f"admin off\nlocal_certs\nskip_install_trust\nhttp_port {self.plain_port}\n"
            f"storage file_system {self.folder}/store\n"
        )
        wait = f"transport http {{\nread_timeout {self.idle_s}s\n}}"  # without it Caddy waits for ever
        site = filled_in(
            "Caddyfile",
            {
                "git.example.org": self.front.removeprefix("https://"),
                "127.0.0.1:8000": f"127.0.0.1:{self.port} {{\n{wait}\n}}",
            },
        )
        path = self.folder / "Caddyfile"
        path.write_text("{\n" + own + "}\n" + site)
        return [program("caddy"), "run", "--config", str(path), "--adapter", "caddyfile"]
