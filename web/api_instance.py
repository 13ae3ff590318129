"""`/api/v1/version`, `/limits`, `/images`, `/gpus` and so on: what this service is, has and allows."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hermes import __version__
from hermes.instance import look_at_instance
from hermes.machine_answers import GpusAnswer, gpus_answer
from hermes.machines import machines, queue
from hermes.manifest import json_schema
from web.account_answers import ImageAnswer, ImagesAnswer, LimitsAnswer, VersionAnswer
from web.endpoint import Asked, Content, Endpoint
from web.limits import limits
from web.site import Site

API_VERSION = 1
_TYPE = "application/schema+json"
_SCHEMA = Content((_TYPE,), "the JSON Schema", {_TYPE: {"type": "object"}})


class InstanceApi:
    """The handlers."""

    def __init__(self, site: Site) -> None:
        self.site = site

    async def get_version(self, request: Request) -> VersionAnswer:
        """Which Hermes this is; no token."""
        return VersionAnswer(version=__version__, api=API_VERSION)

    async def get_limits(self, asked: Asked) -> LimitsAnswer:
        """What a run, a push and a user may have at most, as it is in force for you."""
        settings = self.site.context.settings
        async with self.site.context.database.read() as session:
            here = await look_at_instance(session, settings, self.site.images, self.site.pools)
        return LimitsAnswer(limits=limits(settings, here.as_seen_by(asked.user.name)))

    async def list_images(self, asked: Asked) -> ImagesAnswer:
        """The base images that a manifest can name."""
        rows = self.site.images.items()
        return ImagesAnswer(images=[ImageAnswer(name=name, **image.model_dump()) for name, image in rows])

    async def get_gpus(self, asked: Asked) -> GpusAnswer:
        """Machines, who holds what, who waits and why."""
        async with self.site.context.database.read() as session:
            found = await machines(session, asked.user)
            waiting, total = await queue(session, asked.user)
        return gpus_answer(found, waiting, total)

    async def get_manifest_schema(self, request: Request) -> Response:
        """The JSON Schema of `hermes.toml`, for editors; no token."""
        return JSONResponse(json_schema(), media_type=_TYPE)


def endpoints(site: Site) -> list[Endpoint]:
    """In the order of the documents."""
    api = InstanceApi(site)
    return [
        Endpoint("GET", "/version", api.get_version),
        Endpoint("GET", "/limits", api.get_limits),
        Endpoint("GET", "/images", api.list_images),
        Endpoint("GET", "/gpus", api.get_gpus),
        Endpoint("GET", "/manifest.schema.json", api.get_manifest_schema, content=_SCHEMA),
    ]
