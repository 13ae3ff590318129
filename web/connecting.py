"""A repository of ours is made to follow one elsewhere: row, secrets and webhook, for pages and the API."""

from dataclasses import dataclass, replace

from sqlalchemy import select

from hermes.arrivals import ARRIVALS, Arrival, put
from hermes.audit import Actor, write_down
from hermes.cause import Cause
from hermes.errors import NotFound
from hermes.forges.base import Hook, Seen
from hermes.forges.open import open_forge
from hermes.host_keys import fingerprints
from hermes.journal import log
from hermes.outward import check_url, parse_networks
from hermes.queue import CHANGED
from hermes.reports import tell_again
from hermes.repos import (
    check_takeable,
    find_repo,
    get_or_make_writable,
    get_readable,
    may_write,
    visible_to,
    writable,
)
from hermes.sealed import Sealed, seal, unseal
from hermes.secret_keys import key_file
from hermes.tables import Repo, User
from hermes.upstreams import (
    DEPLOY_KEY,
    HOOK_SECRET,
    TOKEN,
    Place,
    Upstream,
    connect,
    disconnect,
    hook_url,
    make_hook_secret,
    sealed_name,
    sealed_of,
    upstream_of,
)
from web.connected import Connected, Found, Left, Ours, Wish
from web.registering import BY_HAND, Made, Registering
from web.site import Site
from web.ssh_access import SshAccess, agree, is_wanted


@dataclass(frozen=True)
class _Agreed:
    """What is written down."""

    wish: Wish
    reports: bool
    access: SshAccess | None

    @property
    def words(self) -> str:
        """For the audit log."""
        words = f"{self.wish.place.base_url}/{self.wish.place.name}"
        if self.access is None:
            return words
        shown = ", ".join(fingerprints(self.access.address, self.access.host_key))
        return f"{words} over SSH from {self.access.address}, host key {self.access.how}: {shown}"


class Connecting:
    """What may be done about it, by who may write."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._context = site.context
        self._database = site.context.database
        self._key = key_file(site.context.settings)
        self._allowed = parse_networks(site.context.settings.callback_networks)

    async def find(self, user: User, ours: Ours) -> Found:
        """Raises NotFound, Refused."""
        async with self._database.read() as session:
            repo = await get_readable(session, user, ours.owner, ours.name)
            await check_takeable(session, user, ours.owner, ours.name)
            upstream = await upstream_of(session, repo.id)
            if upstream is None:
                raise NotFound(
                    f"{ours.whole} follows no repository elsewhere",
                    f"hermes github connect OWNER/REPO --repo {ours.whole}",
                )
            has_token = bool(await sealed_of(session, self._key, repo.id, TOKEN))
            return Found(upstream, has_token, self._hook_url(upstream.kind, ours))

    async def all_of(self, user: User) -> list[tuple[Found, Ours]]:
        """In repositories where this user may push, by their numbers."""
        rows = select(Upstream, Repo, User.name).join(Repo, Repo.id == Upstream.repo_id)
        rows = rows.join(User, User.id == Repo.owner_id).where(visible_to(user)).order_by(Repo.id)
        sealed = select(Sealed.name).where(Sealed.name.like("upstream % token"))
        async with self._database.read() as session:
            found = (await session.execute(rows)).all()
            may = await writable(session, user, [repo for _, repo, _ in found])
            tokens = set((await session.scalars(sealed)).all())
        made = []
        for upstream, repo, owner in found:
            if repo.id in may:
                ours, has_token = Ours(owner, repo.name), sealed_name(repo.id, TOKEN) in tokens
                made.append((Found(upstream, has_token, self._hook_url(upstream.kind, ours)), ours))
        return made

    async def find_for(self, user: User | None, repo: Repo, owner: str) -> Found | None:
        """For a page that shows it to who may write."""
        async with self._database.read() as session:
            if user is None or not await may_write(session, user, repo):
                return None
            upstream = await upstream_of(session, repo.id)
            if upstream is None:
                return None
            has_token = bool(await sealed_of(session, self._key, repo.id, TOKEN))
        return Found(upstream, has_token, self._hook_url(upstream.kind, Ours(owner, repo.name)))

    async def may(self, user: User, ours: Ours) -> None:
        """Raises NotFound or Refused for who may not connect it."""
        async with self._database.read() as session:
            await check_takeable(session, user, ours.owner, ours.name)

    async def connect(self, user: User, by: Actor, ours: Ours, wish: Wish) -> Connected:
        """Raises UserError; then nothing has changed."""
        await self.may(user, ours)
        check_url(wish.place.api_url, self._allowed)
        was = await self._now(ours)
        same = was if was is not None and _is_same(was.place, wish.place) else None
        if same is not None:
            wish = replace(wish, place=same.place)
        token = wish.token or ""
        if wish.token is None and same is not None:
            token = await self._sealed(same.repo_id, TOKEN)
        seen = await self._at(wish.place, token).look()
        if seen is not None and seen.name.lower() == wish.place.name.lower():
            wish = replace(wish, place=wish.place._replace(name=seen.name))  # capitals as they are there
        access = await self._access(ours, wish, same, seen)
        if was is not None and same is None:
            await self._leave(was, ours)
        gone = ""
        if same is not None and access is None:
            gone = await self._at(wish.place, token).remove_key(same.public_key)
        secret = await self._store(user, by, ours, _Agreed(wish, bool(token), access))
        at, hook = self._at(wish.place, token), Hook(self._hook_url(wish.place.kind, ours), secret)
        webhook = await at.make_hook(hook, wish.by_hand)
        key = await at.make_key(self._title(ours), access.key, wish.by_hand) if access else Made("")
        if access is None or not access.is_new or key.how != BY_HAND:  # else its key is not there yet
            await self._look_at_all(user, ours)
        await self._context.doorbell.ring(CHANGED, ARRIVALS)
        return Connected(
            await self.find(user, ours),
            webhook.how,
            (*(seen.lacks if seen else ()), *webhook.lacks, *key.lacks),
            (*at.token_steps(), *webhook.steps, *key.steps, *filter(None, [gone])),
            secret if webhook.how == BY_HAND else "",
            key.how,
            access.how if access else "",
        )

    async def disconnect(self, user: User, by: Actor, ours: Ours) -> Left:
        """What was done there. Raises NotFound, Refused."""
        found = await self.find(user, ours)
        place = found.upstream.place
        left = await self._leave(found.upstream, ours)
        async with self._database.write() as session:
            await disconnect(session, found.upstream.repo_id)
            write_down(session, by, "upstream disconnected", ours.whole, f"{place.base_url}/{place.name}")
        log.info("upstream disconnected", repo=ours.whole, by=user.name)
        return left

    def _hook_url(self, kind: str, ours: Ours) -> str:
        return hook_url(self._context.settings.public_url, kind, ours.owner, ours.name)

    def _title(self, ours: Ours) -> str:
        """Of a deploy key, for who reads the settings there."""
        return f"Hermes: {ours.whole} at {self._context.settings.public_url}"[:200]

    def _at(self, place: Place, token: str) -> Registering:
        allowed, gates = self._allowed, self._site.gates
        forge = open_forge(place, token, allowed, gates, for_person=True) if token else None
        return Registering(place, forge)

    async def _sealed(self, repo_id: int, what: str) -> str:
        async with self._database.read() as session:
            return await sealed_of(session, self._key, repo_id, what)

    async def _now(self, ours: Ours) -> Upstream | None:
        async with self._database.read() as session:
            repo = await find_repo(session, ours.owner, ours.name)
            return await upstream_of(session, repo.id) if repo else None

    async def _look_at_all(self, user: User, ours: Ours) -> None:
        """At all of its branches, at once."""
        async with self._database.write() as session:
            repo = await find_repo(session, ours.owner, ours.name)
            upstream = await upstream_of(session, repo.id) if repo else None
            if upstream is not None:
                put(session, _first_look(upstream, user))

    async def _access(
        self, ours: Ours, wish: Wish, same: Upstream | None, seen: Seen | None
    ) -> SshAccess | None:
        """None: it is fetched over HTTPS. Raises UserError."""
        if not is_wanted(wish, same):
            return None
        private = await self._sealed(same.repo_id, DEPLOY_KEY) if same else ""
        return await agree(wish, same, seen, private, self._allowed, ours)

    async def _leave(self, upstream: Upstream, ours: Ours) -> Left:
        """What is ours is taken away there, if that can be."""
        place, token = upstream.place, await self._sealed(upstream.repo_id, TOKEN)
        at = self._at(place, token)
        webhook = await at.remove_hook(self._hook_url(place.kind, ours))
        return Left(webhook, await at.remove_key(upstream.public_key))

    async def _store(self, user: User, by: Actor, ours: Ours, agreed: _Agreed) -> str:
        """In one transaction; returns the secret of its webhook."""
        wish, place, access = agreed.wish, agreed.wish.place, agreed.access
        async with self._database.write() as session:
            repo = await get_or_make_writable(session, user, ours.owner, ours.name)
            given = {DEPLOY_KEY: access.key.private if access else ""}
            given |= {} if wish.token is None else {TOKEN: wish.token}
            upstream = await connect(session, self._key, repo.id, user.id, place, given)
            upstream.ssh = str(access.address) if access else ""
            upstream.host_key = access.host_key if access else ""
            upstream.public_key = access.key.public if access else ""
            name = sealed_name(repo.id, HOOK_SECRET)
            secret = await unseal(session, self._key, name)
            if not secret:
                secret = make_hook_secret()
                await seal(session, self._key, name, secret)
            upstream.reports = agreed.reports
            await tell_again(session, upstream)
            write_down(session, by, "upstream connected", ours.whole, agreed.words)
        log.info("upstream connected", repo=ours.whole, by=user.name, kind=place.kind, name=place.name)
        return secret


def _first_look(upstream: Upstream, user: User) -> Arrival:
    """At all of its branches and tags, at once."""
    page = f"{upstream.base_url}/{upstream.name}"
    cause = Cause(f"{upstream.name} connected by {user.name}", page)
    return Arrival(repo_id=upstream.repo_id, source="asked", ref="", sender=user.name, cause=cause.row())


def _is_same(was: Place, wished: Place) -> bool:
    """Whatever the capitals of its name: forges take them for small letters."""
    return was[::2] == wished[::2] and was.name.lower() == wished.name.lower()
