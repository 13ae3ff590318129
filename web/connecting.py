"""A repository of ours is made to follow one elsewhere: row, secrets and webhook, for pages and the API."""

from dataclasses import replace

from sqlalchemy import select

from hermes.arrivals import ARRIVALS, Arrival, put
from hermes.audit import Actor, write_down
from hermes.cause import Cause
from hermes.errors import NotFound, TooMany, UserError
from hermes.forges.base import Forge, Hook, Seen
from hermes.forges.open import NAMES, hook_steps, open_forge, token_steps
from hermes.forges.talk import Denied, Limited
from hermes.journal import log
from hermes.outward import Undelivered, check_url, parse_networks
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
from web.connected import Connected, Found, Ours, Wish, found_place
from web.site import Site


class Connecting:
    """What may be done about it, by who may write."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._context = site.context
        self._database = site.context.database
        self._key = key_file(site.context.settings)

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
        check_url(wish.place.api_url, parse_networks(self._context.settings.callback_networks))
        was = await self._now(ours)
        is_same = was is not None and _is_same(found_place(was), wish.place)
        if was is not None and is_same:
            wish = replace(wish, place=found_place(was))
        token = wish.token or ""
        if wish.token is None and was is not None and is_same:
            token = await self._sealed(was.repo_id, TOKEN)
        seen = await self._look(self._forge(wish.place, token)) if token else None
        if seen is not None and seen.name.lower() == wish.place.name.lower():
            wish = replace(wish, place=wish.place._replace(name=seen.name))  # capitals as they are there
        if was is not None and not is_same:
            await self._leave(was, ours)
        secret = await self._store(user, by, ours, wish, bool(token))
        hook = Hook(self._hook_url(wish.place.kind, ours), secret)
        webhook, lacks = await self._make_hook(wish, token, hook)
        await self._context.doorbell.ring(CHANGED, ARRIVALS)
        steps: list[str] = [] if token else token_steps(wish.place)
        if webhook == "by hand":
            steps += hook_steps(wish.place, hook.url, secret)
        lacks = (*(seen.lacks if seen else ()), *lacks)
        found = await self.find(user, ours)
        return Connected(found, webhook, lacks, tuple(steps), secret if webhook == "by hand" else "")

    async def disconnect(self, user: User, by: Actor, ours: Ours) -> str:
        """What was done there, in words. Raises NotFound, Refused."""
        found = await self.find(user, ours)
        place = found_place(found.upstream)
        words = await self._leave(found.upstream, ours)
        async with self._database.write() as session:
            await disconnect(session, found.upstream.repo_id)
            write_down(session, by, "upstream disconnected", ours.whole, f"{place.base_url}/{place.name}")
        log.info("upstream disconnected", repo=ours.whole, by=user.name)
        return words

    def _hook_url(self, kind: str, ours: Ours) -> str:
        return hook_url(self._context.settings.public_url, kind, ours.owner, ours.name)

    def _forge(self, place: Place, token: str) -> Forge:
        allowed = parse_networks(self._context.settings.callback_networks)
        return open_forge(place, token, allowed, self._site.gates)

    async def _sealed(self, repo_id: int, what: str) -> str:
        async with self._database.read() as session:
            return await sealed_of(session, self._key, repo_id, what)

    async def _now(self, ours: Ours) -> Upstream | None:
        async with self._database.read() as session:
            repo = await find_repo(session, ours.owner, ours.name)
            return await upstream_of(session, repo.id) if repo else None

    async def _leave(self, upstream: Upstream, ours: Ours) -> str:
        """Its webhook is taken away there, if that can be: in words."""
        place, token = found_place(upstream), await self._sealed(upstream.repo_id, TOKEN)
        return await self._remove_hook(place, token, self._hook_url(place.kind, ours))

    async def _look(self, forge: Forge) -> Seen:
        try:
            return await forge.look()
        except Undelivered as error:
            raise _as_user_error(error) from None

    async def _store(self, user: User, by: Actor, ours: Ours, wish: Wish, reports: bool) -> str:
        """In one transaction; returns the secret of its webhook."""
        place = wish.place
        async with self._database.write() as session:
            repo = await get_or_make_writable(session, user, ours.owner, ours.name)
            given = {} if wish.token is None else {TOKEN: wish.token}
            upstream = await connect(session, self._key, repo.id, user.id, place, given)
            name = sealed_name(repo.id, HOOK_SECRET)
            secret = await unseal(session, self._key, name)
            if not secret:
                secret = make_hook_secret()
                await seal(session, self._key, name, secret)
            upstream.reports = reports
            await tell_again(session, upstream)
            put(session, _first_look(upstream, user))
            write_down(session, by, "upstream connected", ours.whole, f"{place.base_url}/{place.name}")
        log.info("upstream connected", repo=ours.whole, by=user.name, kind=place.kind, name=place.name)
        return secret

    async def _make_hook(self, wish: Wish, token: str, hook: Hook) -> tuple[str, tuple[str, ...]]:
        """`made`, `updated` or `by hand`, and why it could not be made."""
        if wish.by_hand or not token:
            return "by hand", ()
        try:
            is_new = await self._forge(wish.place, token).put_hook(hook)
        except Undelivered as error:
            return "by hand", (f"the webhook: {error}",)
        return "made" if is_new else "updated", ()

    async def _remove_hook(self, place: Place, token: str, url: str) -> str:
        forge = NAMES[place.kind]
        by_hand = f"remove the webhook in the settings of {place.base_url}/{place.name}"
        if not token:
            return f"there is no token: {by_hand}"
        try:
            there_was = await self._forge(place, token).remove_hook(url)
        except Undelivered as error:
            return f"{error}: {by_hand}"
        return (
            f"its webhook is removed at {forge}" if there_was else f"there was no webhook of ours at {forge}"
        )


def _first_look(upstream: Upstream, user: User) -> Arrival:
    """At all of its branches and tags, at once."""
    page = f"{upstream.base_url}/{upstream.name}"
    cause = Cause(f"{upstream.name} connected by {user.name}", page)
    return Arrival(repo_id=upstream.repo_id, source="asked", ref="", sender=user.name, cause=cause.row())


def _is_same(was: Place, wished: Place) -> bool:
    """Whatever the capitals of its name: forges take them for small letters."""
    return was[::2] == wished[::2] and was.name.lower() == wished.name.lower()


def _as_user_error(error: Undelivered) -> UserError:
    if isinstance(error, Limited):
        return TooMany(str(error), error.wait_s or 0.0)
    if isinstance(error, Denied):
        return UserError(str(error), error.hint)
    return UserError(str(error), "is its address right? Try again, or connect it without a token")
