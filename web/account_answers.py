"""The API's answers about who asks, users, tokens, and what this service is and allows, as models."""

from pydantic import BaseModel


class TokenAnswer(BaseModel):
    """What signs a user in; `scope` `session` is a browser, and with `repo` it is good for git there only."""

    id: int
    name: str
    scope: str
    repo: str | None
    created_at: float
    expires_at: float | None
    last_used_at: float | None


class TokenMade(TokenAnswer):
    """A new one; `token` is the secret, which is shown this once."""

    token: str


class TokensAnswer(BaseModel):
    """Everything that signs you in now, the newest first."""

    tokens: list[TokenAnswer]


class WhoAnswer(BaseModel):
    """Who asks, and with which token."""

    name: str
    is_admin: bool
    token: TokenAnswer


class UserAnswer(BaseModel):
    """An account, for admins."""

    name: str
    is_admin: bool
    created_at: float
    disabled_at: float | None
    repos: int
    last_run_at: float | None
    last_seen_at: float | None


class UserPage(BaseModel):
    """Accounts by name; `next` is the address of the following ones."""

    users: list[UserAnswer]
    next: str | None


class VersionAnswer(BaseModel):
    """Which Hermes this is; `api` is the number in its addresses."""

    version: str
    api: int


class LimitAnswer(BaseModel):
    """`default` is what one gets who asks for nothing, `most` what may be asked for; null: no bound.

    `setting` is what an operator changes."""

    name: str
    words: str
    default: float | None
    most: float | None
    unit: str
    per: str
    setting: str | None


class LimitsAnswer(BaseModel):
    """All of them, as they are in force."""

    limits: list[LimitAnswer]


class ImageAnswer(BaseModel):
    """What a manifest can name as `build.image`; the first one of a language is its default."""

    name: str
    reference: str
    languages: list[str]
    cuda: str
    summary: str


class ImagesAnswer(BaseModel):
    """In order of preference."""

    images: list[ImageAnswer]


class SecretAnswer(BaseModel):
    """What signs the callbacks of your runs (`X-Hermes-Signature`)."""

    secret: str
