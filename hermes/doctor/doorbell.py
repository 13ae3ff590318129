"""Redis, the doorbell: which one, whether it answers, and what it is allowed to hold."""

from typing import Any
from urllib.parse import urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from hermes.doctor.findings import Finding, first_line, note, ok, problem, warning
from hermes.redis_server import find_server, socket_path
from hermes.settings import Settings
from hermes.units import show_limit, show_size

_ANSWER_S = 2.0


def look_at_redis(settings: Settings, is_up: bool) -> list[Finding]:
    """`is_up`: the service serves, so its own Redis should be there."""
    slower = f"work starts within {show_limit(settings.poll)} instead of at once"
    if settings.redis_url == "none":
        return [note("redis", f"HERMES_REDIS_URL=none: {slower}", "unset HERMES_REDIS_URL for a private one")]
    if settings.redis_url:
        step = f"start it, or correct HERMES_REDIS_URL (none: do without, {slower})"
        return [_ask(settings.redis_url, shown(settings.redis_url), problem, step)]
    if find_server() is None:
        return [warning("redis", f"there is no redis-server: {slower}", "apt-get install redis-server")]
    socket = socket_path(settings.data)
    if not is_up and not socket.exists():
        return [note("redis", "the private one does not run", "hermes up starts it")]
    step = "hermes up starts it again each second: read why it ends in its lines (`redis |`)"
    return [_ask(f"unix://{socket}", f"private, {socket}", problem if is_up else note, step)]


def shown(url: str) -> str:
    """Without a password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _ask(url: str, where: str, say: Any, step: str) -> Finding:
    client = Redis.from_url(
        url, retry=Retry(NoBackoff(), 0), socket_timeout=_ANSWER_S, socket_connect_timeout=_ANSWER_S
    )
    try:
        facts: dict[str, Any] = client.info()
    except (RedisError, OSError, ValueError) as error:
        finding: Finding = say("redis", f"{where}: no answer ({first_line(error)})", step)
        return finding
    finally:
        client.close()
    limit = show_size(facts["maxmemory"]) if facts.get("maxmemory") else "no limit"
    used, policy = show_size(facts.get("used_memory", 0)), facts.get("maxmemory_policy", "unknown policy")
    found = f"{where}: Redis {facts.get('redis_version')}, {used} in use ({limit}, {policy})"
    if facts.get("role") == "slave":  # what is published there reaches only its own listeners
        return warning("redis", f"{found}: it is a replica", "HERMES_REDIS_URL=… of the primary")
    return ok("redis", found)
