"""From rows to the API's answers about uploads."""

from urllib.parse import quote

from hermes.functions import Function
from hermes.states import State
from hermes.tables import Upload, User
from hermes.uploads import page_address
from web.endpoint import PREFIX
from web.upload_answers import UploadAnswer
from web.upload_rows import Row


def outbox_address(base: str, owner: str, name: str, path: str = "") -> str:
    """Where what came of uploads lies; `base` is what addresses start with."""
    inside = f"/{quote(path)}" if path else ""
    return f"{base}{PREFIX}/functions/{owner}/{name}/outbox{inside}"


def fresh_answer(upload: Upload, function: Function, user: User, base: str) -> UploadAnswer:
    """One whose run was queued this moment: nothing more can be known of it."""
    place = (function.owner, function.repo.name)
    return upload_answer(
        Row(upload, user.name, *place, State.QUEUED.value, "", None, upload.size_bytes), base
    )


def upload_answer(row: Row, base: str) -> UploadAnswer:
    """One."""
    upload = row.upload
    return UploadAnswer(
        id=upload.id,
        name=upload.name,
        function=f"{row.owner}/{row.repo}",
        version=upload.what,
        state=row.state,
        reason=row.reason,
        size_bytes=upload.size_bytes,
        received_bytes=row.received_bytes,
        sha256=upload.sha256,
        user=row.user,
        run=upload.run_id,
        artifacts=row.artifacts,
        created_at=upload.created_at,
        ended_at=row.ended_at,
        url=base + page_address(row.owner, row.repo, upload.name),
        run_url=f"{base}/runs/{upload.run_id}" if upload.run_id else "",
        outbox_url=outbox_address(base, row.owner, row.repo, upload.name),
    )
