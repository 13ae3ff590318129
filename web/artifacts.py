"""`/runs/{n}/artifacts`: all that a run left behind, to look through or as one zip."""

from functools import partial

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hermes.errors import NotFound
from hermes.removals import Data, refuse_removed, removals_of, sentence
from hermes.tables import Artifact, Build, Rank, Run
from web.archive import Member, archive
from web.crowd import Crowd
from web.files import HEADERS, disposition
from web.lookup import artifacts_by_rank, find_run
from web.pieces import Pieces
from web.preview import LISTED, Gallery, grouped
from web.site import Site, number

_MOST_ZIPS, _MOST_ZIPS_EACH = 8, 2
_MAX_NAME = 200


async def _has_ranks(session: AsyncSession, run: Run) -> bool:
    """More than one, or one of several that ran again."""
    second = select(Rank.id).where(Rank.run_id == run.id, Rank.number > 0).limit(1)
    return await session.scalar(second) is not None


async def listing(site: Site, request: Request) -> Response:
    """The page: filtered by a part of the name and by rank, in pages."""
    user = await site.reader(request)
    name = request.query_params.get("name", "")[:_MAX_NAME].replace("\0", "")
    rank, page = request.query_params.get("rank", "").strip(), max(number(request.query_params, "page"), 1)
    async with site.context.database.read() as session:
        run, place = await find_run(session, user, number(request.path_params, "run"))
        wanted = artifacts_by_rank().where(Artifact.run_id == run.id)
        if name:
            wanted = wanted.where(Artifact.path.contains(name, autoescape=True))
        if rank:
            is_number = rank.isascii() and rank.isdecimal() and len(rank) < 10
            wanted = wanted.where(Rank.number == (int(rank) if is_number else -1))
        found = await session.scalar(select(func.count()).select_from(wanted.subquery())) or 0
        all_of_run = select(func.count(Artifact.id)).where(Artifact.run_id == run.id)
        total = await session.scalar(all_of_run) or 0
        rows = (await session.execute(wanted.limit(LISTED).offset((page - 1) * LISTED))).all()
        has_ranks = await _has_ranks(session, run)
        build = await session.get_one(Build, run.build_id)
        gone = (await removals_of(session, (Data.ARTIFACTS,), run.id)).get(Data.ARTIFACTS)
    groups = await grouped(site, [(artifact, rank_number) for artifact, rank_number in rows])
    return site.page(
        request,
        "run_artifacts.html",
        run=run,
        place=place,
        sha=build.commit_sha,
        gallery=Gallery(
            run.id, groups, total, has_ranks, unfolded=len(groups), removed=sentence(gone) if gone else ""
        ),
        found=found,
        first=(page - 1) * LISTED + 1,
        page=page,
        pages=-(-found // LISTED),
        name=name,
        rank=rank,
        has_filter=total > LISTED or bool(name or rank),
    )


async def everything(site: Site, crowd: Crowd, request: Request) -> Response:
    """The zip. Raises TooMany, Gone."""
    user = await site.reader(request)
    async with site.context.database.read() as session:
        run, place = await find_run(session, user, number(request.path_params, "run"))
        await refuse_removed(session, Data.ARTIFACTS, run.id)
        found = (await session.execute(artifacts_by_rank().where(Artifact.run_id == run.id))).all()
        has_ranks = await _has_ranks(session, run)
    if not found:
        raise NotFound(f"run {run.id} left no artifacts")
    members = [
        Member(
            f"rank-{rank}/{artifact.path}" if has_ranks else artifact.path,
            site.context.paths.artifact(artifact.sha256),
            artifact.size_bytes,
            artifact.created_at,
        )
        for artifact, rank in found
    ]
    how = disposition("attachment", f"{place.repo.name}-run-{run.id}.zip")
    headers = HEADERS | {"Content-Disposition": how}
    answer = Pieces(archive(members), headers, "application/zip")
    return crowd.admit(request, user, answer)


def routes(site: Site) -> list[Route]:
    """Who may see a repo may have what its runs wrote."""
    zips = Crowd("zips", _MOST_ZIPS, _MOST_ZIPS_EACH)
    return [
        Route("/runs/{run}/artifacts", partial(listing, site)),
        Route("/runs/{run}/artifacts.zip", partial(everything, site, zips)),
    ]
