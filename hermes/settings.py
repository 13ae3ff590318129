"""Every setting of an instance: one line each, read once from the environment by an entry point."""

import os
import re
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from hermes.errors import SettingsError
from hermes.packages import parse_allowed
from hermes.setting_forms import Parse
from hermes.setting_forms import addresses as _addresses
from hermes.setting_forms import addresses_or_none as _addresses_or_none
from hermes.setting_forms import count as _count
from hermes.setting_forms import mail_sender as _mail_sender
from hermes.setting_forms import one_of as _one_of
from hermes.setting_forms import origin as _origin
from hermes.setting_forms import port as _port
from hermes.setting_forms import port_or_none as _port_or_none
from hermes.setting_forms import redis as _redis
from hermes.setting_forms import smtp as _smtp
from hermes.setting_forms import span_or_none as _span_or_none
from hermes.setting_forms import url as _url
from hermes.shares import parse_share
from hermes.units import parse_size_bytes, parse_span_s, show_limit


def _setting(default: Any, parse: Parse, help: str) -> Any:
    return field(default=default, metadata={"parse": parse, "help": help})


@dataclass(frozen=True)
class Settings:
    """The settings; the environment variable of `name` is `HERMES_NAME`."""

    # fmt: off
    data: Path = _setting(Path("var"), Path, "directory that holds everything: database, repositories, logs, artifacts")
    host: str = _setting("0.0.0.0", str, "address to listen on")
    port: int = _setting(8000, _port, "port to listen on")
    url: str = _setting("", _url, "address that users see in links; default: http://localhost:PORT")
    executor: str = _setting("auto", _one_of("auto", "docker", "local"), "how builds and runs are started; auto: docker if an engine answers, else local")
    trust: str = _setting("owner", _one_of("owner", "all"), "whose work may run without a container engine: the operator's own (admins and the first account), or everybody's")
    redis_url: str = _setting("", _redis, "Redis to use as the doorbell; default: `hermes up` starts a private one; `none`: do without")
    database_url: str = _setting("", str, "SQLAlchemy URL; default: SQLite in the data directory; postgresql://… for PostgreSQL")
    log: str = _setting("text", _one_of("text", "json"), "form of the service's own log lines on stderr")
    images: Path = _setting(Path(), Path, "TOML table of base images; default: the one that comes with Hermes")
    templates: Path = _setting(Path(), Path, "folder of templates for `hermes init`, besides those that come with Hermes")
    packages: str = _setting("on", parse_allowed, "Debian packages that manifests may ask for (`build.packages`): on, all of them; off, none; or names, with `*`, by blanks")
    packages_network: str = _setting("bridge", str, "network of the engine through which packages are fetched: bridge, host, or one of your own")
    dockerfiles: str = _setting("off", _one_of("off", "on"), "whether manifests may name a Dockerfile of their own (`build.dockerfile`): only for users whom you trust, its commands run as root in containers of the engine")
    dockerfiles_network: str = _setting("none", str, "network of the engine that the RUN commands of Dockerfiles get: none, bridge, or one of your own")
    gpus: str = _setting("auto", _one_of("auto", "none"), "auto: every GPU that NVML lists; none: leave the GPUs of this machine alone")
    without_gpu: str = _setting("refuse", _one_of("refuse", "wait"), "a push that needs a GPU on an instance that has none: refuse it, or let it wait for one")
    gpu_settle: float = _setting(10.0, parse_span_s, "how long a GPU may take after a run until its memory is free again; then it is put into quarantine")
    pools: Path = _setting(Path(), Path, "TOML table of pools of GPUs that only some users get; default: every GPU is everybody's")
    placement: str = _setting("pack", _one_of("pack", "spread", "round-robin"), "which GPU a run gets of those that fit: pack fills those that are shared, spread takes the emptiest, round-robin the next one")
    network: str = _setting("none", str, "network of the engine that programs get whose manifest says `run.network = true`; none: that is refused")
    runtime: str = _setting("", str, "container runtime of builds and runs, for example runsc (gVisor); default: the engine's own")
    ranks: int = _setting(0, _count, "most ranks that run at a time; 0: as many as fit")
    user_ranks: int = _setting(0, _count, "most ranks of one user that run at a time; 0: as many as fit")
    queued: int = _setting(100_000, _count, "most ranks that wait, of all users together; pushes beyond are refused; 0: no bound")
    user_queued: int = _setting(20_000, _count, "most ranks of one user that wait; 0: no bound")
    runs_per_minute: int = _setting(600, _count, "runs that one user may start in a minute by the API and on pages; then 429; 0: no bound")
    user_gpu_time: float = _setting(0.0, _span_or_none, "GPU time of one user in 24 hours, all GPUs together; then runs wait; 0: no bound")
    warm: int = _setting(2, _count, "containers that wait for the next calls of the functions that were called last; 0: none")
    warm_time: float = _setting(600.0, parse_span_s, "how long such a container waits after the last call")
    build_slots: int = _setting(2, _count, "builds at a time")
    cpus: int = _setting(0, _count, "CPUs that runs may hold together; 0: all of this machine")
    memory: int = _setting(0, parse_size_bytes, "memory that runs may hold together; 0: 90 % of this machine")
    disk: int = _setting(2 << 30, parse_size_bytes, "writable disk of one build or one rank")
    max_timeout: float = _setting(86400.0, parse_span_s, "longest `timeout` a manifest may ask for")
    ssh_host: str = _setting("", str, "address to listen on for git over SSH; default: HERMES_HOST")
    ssh_port: int = _setting(2222, _port_or_none, "port of git over SSH; 0: none")
    proxies: str = _setting("", _addresses, "addresses or networks of reverse proxies, by commas, whose X-Forwarded-For and -Proto are believed")
    anonymous: str = _setting("read", _one_of("read", "none"), "what people without an account may do with public repositories: read them, or nothing")
    push_size: int = _setting(512 << 20, parse_size_bytes, "largest push, compressed, as it comes over the wire")
    push_objects: int = _setting(500_000, _count, "most objects in a push")
    push_unpacked: int = _setting(16 << 30, parse_size_bytes, "all objects of a push together, inflated")
    push_refs: int = _setting(16, _count, "most branches and tags that one push may move")
    push_time: float = _setting(900.0, parse_span_s, "how long a push may take to arrive")
    push_rate: int = _setting(300, _count, "pushes of one user in a minute")
    object_size: int = _setting(512 << 20, parse_size_bytes, "largest object (file) in a push, inflated")
    repo_size: int = _setting(10 << 30, parse_size_bytes, "largest repository on disk; pushes beyond are refused")
    repo_refs: int = _setting(1000, _count, "most branches and tags of a repository")
    git_memory: int = _setting(1 << 30, parse_size_bytes, "address space of one git program that serves a push or a fetch")
    git_time: float = _setting(600.0, parse_span_s, "CPU time of one git program that serves a push or a fetch")
    git_slots: int = _setting(16, _count, "pushes, and as many fetches, that git works on at a time, a quarter of them for one user; others wait")
    login_failures: int = _setting(10, _count, "wrong tokens or keys from one address (of IPv6: one /64 network) in five minutes, before it has to wait")
    streams: int = _setting(1000, _count, "most live logs that are followed at a time on pages and by programs, half of them by people without an account; 0: no bound")
    user_streams: int = _setting(100, _count, "most live logs that one user follows at a time; 0: no bound")
    address_streams: int = _setting(20, _count, "most live logs that people without an account follow at a time from one address; 0: no bound")
    user_calls: int = _setting(500, _count, "most invocations that one user waits for at a time (mode=sync); 0: no bound")
    callback_networks: str = _setting("", _addresses, "addresses or networks, by commas, that callbacks, notifications and what asks forges (upstreams) may reach although they are not on the public internet (10.0.0.0/8)")
    smtp_url: str = _setting("", _smtp, "server that takes mail about runs: smtp://USER:PASSWORD@HOST:587 (with STARTTLS where it is offered, always for a password), or smtps://…; default: no mail is sent")
    mail_from: str = _setting("", _mail_sender, "sender of mail; default: hermes@ and the host of HERMES_URL")
    maintenance: float = _setting(600.0, parse_span_s, "how long a repository is left alone after a push before it is packed anew")
    tree_size: int = _setting(256 << 20, parse_size_bytes, "largest tree of a commit that is built, all files together")
    tree_files: int = _setting(20_000, _count, "most files in a commit that is built")
    log_size: int = _setting(16 << 20, parse_size_bytes, "bytes kept from the start of a log; 1 MiB of its end is kept besides")
    input_size: int = _setting(4 << 30, parse_size_bytes, "all input of one invocation together: its stdin and its files")
    input_files: int = _setting(1000, _count, "most files that one invocation brings")
    result_size: int = _setting(4 << 30, parse_size_bytes, "what is kept of a rank's standard output as the result of an invocation")
    artifact_size: int = _setting(1 << 30, parse_size_bytes, "most bytes of artifacts of one rank")
    artifact_origin: str = _setting("", _origin, "second address of this service, on a host of its own, where HTML and SVG artifacts are previewed; default: no previews of them")
    artifact_files: int = _setting(1000, _count, "most artifacts of one rank")
    stop: str = _setting("leave", _one_of("leave", "drain", "end"), "what SIGTERM does to running programs: leave them running, the next start goes on with them (docker executor); drain: nothing new begins, and Hermes ends when they have, a second SIGTERM ends them; end them, they start anew")
    secret_key_file: Path = _setting(Path(), Path, "file of the key that encrypts secrets; default: secret_key in the data directory, made with the first secret")
    metrics: str = _setting("127.0.0.0/8,::1", _addresses_or_none, "addresses or networks, by commas, that may read `/metrics` without the token of an admin; none: nobody may")
    keep_logs: float = _setting(365 * 86400.0, _span_or_none, "how long logs of builds and runs are kept; the newest of each branch always; 0: for ever")
    keep_artifacts: float = _setting(90 * 86400.0, _span_or_none, "how long artifacts are kept; those of the newest runs of each branch always; 0: for ever")
    keep_results: float = _setting(30 * 86400.0, _span_or_none, "how long results of invocations are kept; 0: for ever")
    keep_inputs: float = _setting(30 * 86400.0, _span_or_none, "how long input of invocations is kept; 0: for ever")
    keep_images: float = _setting(30 * 86400.0, _span_or_none, "how long an image is kept that nobody runs; those of the newest commits and of versions always, others are built again when they are needed; 0: for ever")
    keep_caches: float = _setting(30 * 86400.0, _span_or_none, "how long the compiler cache of a repository is kept that nobody builds; 0: for ever")
    keep_messages: float = _setting(30 * 86400.0, _span_or_none, "how long it is remembered what was said to others: callbacks, notifications, results on forges; what is not sent yet and what is in the log of a notification always; 0: for ever")
    free_low: str = _setting("5%", parse_share, "with less free on the disk of HERMES_DATA, what is oldest is removed, whatever its age: a share, or a size (20G); 0: never")
    free_high: str = _setting("10%", parse_share, "… until so much is free")
    lease: float = _setting(60.0, parse_span_s, "how long a build or a rank stays with a process that shows no sign of life")
    upstream_poll: float = _setting(300.0, _span_or_none, "how often the branches and tags of repositories that are followed (GitHub, Gitea, GitLab) are looked at, for what no webhook has told; 0: never")
    poll: float = _setting(5.0, parse_span_s, "how often queues are looked at when no doorbell rings")
    # fmt: on

    @property
    def public_url(self) -> str:
        """What links start with, without a trailing slash."""
        return self.url or f"http://localhost:{self.port}"

    @property
    def database(self) -> str:
        """The database URL with the asynchronous driver named."""
        url = self.database_url or f"sqlite:///{self.data.absolute() / 'hermes.db'}"
        for plain, driver in (
            ("sqlite://", "sqlite+aiosqlite://"),
            ("postgres://", "postgresql+asyncpg://"),
            ("postgresql://", "postgresql+asyncpg://"),
        ):
            if url.startswith(plain):
                return driver + url.removeprefix(plain)
        return url


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"HERMES_{name.upper()}"


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the environment. Raises SettingsError that names the variable and says what it takes."""
    known = {variable(each.name): each for each in fields(Settings)}
    values = {}
    for name, each in known.items():
        if text := environ.get(name, ""):
            values[each.name] = _parse(name, each, text)
    return Settings(**values)


def _parse(name: str, each: "Field[Any]", text: str) -> Any:
    try:
        return each.metadata["parse"](text)
    except ValueError as error:
        raise SettingsError(f"{name}={text!r}: {error}\n  {name}: {each.metadata['help']}") from None


def _show(each: "Field[Any]", value: Any) -> str:
    """A value as one would write it."""
    parse = each.metadata["parse"]
    if value == 0:
        return "0"
    if parse is parse_size_bytes:
        return f"{value >> 30}G" if value % (1 << 30) == 0 else f"{value >> 20}M"
    return show_limit(value).replace(" ", "") if parse is parse_span_s else str(value)


class SettingInForce(NamedTuple):
    """What one setting is now; `is_set`: the environment says something else than the default."""

    variable: str
    value: str
    default: str
    is_set: bool
    help: str


def settings_in_force(settings: Settings) -> list[SettingInForce]:
    """For an operator to look at: passwords in addresses are masked."""
    found = []
    for each in fields(Settings):
        value = getattr(settings, each.name)
        default, shown = ("" if it in (Path(), "") else _show(each, it) for it in (each.default, value))
        masked = re.sub(r"(://[^/@:]*:)[^@]*@", r"\1••••@", shown)
        is_set = value != each.default
        found.append(SettingInForce(variable(each.name), masked, default, is_set, each.metadata["help"]))
    return found


def settings_table() -> str:
    """The table in docs/settings.md (a test compares them)."""
    rows = ["| variable | default | what it is |", "| --- | --- | --- |"]
    for each in fields(Settings):
        default = "" if each.default in (Path(), "", 0) else f"`{_show(each, each.default)}`"
        rows.append(f"| `{variable(each.name)}` | {default} | {each.metadata['help']} |")
    return "\n".join(rows) + "\n"
