"""The calls of `/v1/files` and of the paths below it."""

from typing import Final

from ....kernel.api.base import problems
from ....kernel.api.base.endpoint import Answer, Endpoint
from ....kernel.api.base.exchange import Exchange, Reach
from ....kernel.api.base.messages import Reply, json_reply
from ....kernel.api.base.problems import FILE_IN_USE, NOT_FOUND, Refusal
from ....kernel.domain.errors import BlobMissing, BlobUnavailable
from ....kernel.domain.ids import FILE_ID_PATTERN, FileKey, file_key_of, new_task_id
from ....kernel.domain.keys import Scope
from .. import multipart
from ..file import File
from ..store import file_store
from . import content, form, listing
from .content import content_reply
from .shapes import DeletedFileView, FileListView, FileView, NewFileFields, file_view
from .upload import Upload


async def upload_file(exchange: Exchange) -> Reply:
    """Store a file while its bytes arrive. A failed upload leaves nothing."""
    api, request = exchange.api, exchange.request
    boundary, now = form.boundary(request.headers), api.now_ms()
    key = FileKey(f"{exchange.tenant}:{new_task_id(now, api.entropy(10))}")
    upload = Upload(file_store(api.invocation), key, now, api.settings, api.isolate.load, api.log, api.isolate.memory)
    try:
        await upload.take_memory(request.headers.get("content-length"))
        new = await form.read_form(request.chunks(), boundary, upload.body_bytes_most, upload.add)
        file = await upload.finish(new)
    except BaseException:  # a cancellation too
        await upload.abort()
        raise
    finally:
        upload.close()
    api.log("file_uploaded", file=key, bytes=file.bytes, purpose=file.purpose, **api.meter.facts())
    return json_reply(200, file_view(file))


async def read_file(exchange: Exchange) -> Reply:
    """Show one file."""
    return json_reply(200, file_view(await _found(exchange)))


async def delete_file(exchange: Exchange) -> Reply:
    """Delete a file and its bytes. A file that a batch or a task reads or writes stays."""
    key = _key(exchange)
    deleted = await file_store(exchange.api.invocation).delete(key)
    if deleted is None:
        raise _no_file()
    if not deleted:
        detail = "A batch or a task still reads or writes this file. Cancel it, or wait until it has ended."
        raise Refusal(FILE_IN_USE, detail)
    exchange.api.log("file_deleted", file=key)
    return json_reply(200, DeletedFileView(id=exchange.parts["id"], object="file", deleted=True))


async def read_file_content(exchange: Exchange) -> Reply:
    """Send the bytes of a file."""
    file = await _found(exchange)
    try:
        return await content_reply(exchange, file)
    except BlobMissing as error:
        if await file_store(exchange.api.invocation).file(file.key) is None:  # it was erased since its row was read
            raise _no_file() from None
        raise BlobUnavailable("a part of a complete file is not in the bucket") from error


def _key(exchange: Exchange) -> FileKey:
    """Return the key of the file that the path names. Raises Refusal (404) for a malformed id, without a D1 call."""
    key = file_key_of(exchange.tenant, exchange.parts["id"])
    if key is None:
        raise _no_file()
    return key


async def _found(exchange: Exchange) -> File:
    file = await file_store(exchange.api.invocation).file(_key(exchange))
    if file is None:
        raise _no_file()
    return file


def _no_file() -> Refusal:
    return Refusal(NOT_FOUND, "There is no file with this id.")


_ID = {"type": "string", "pattern": f"^{FILE_ID_PATTERN}$"}
_OF_FILE = tuple((name, "id", "/id") for name in ("readFile", "readFileContent", "deleteFile"))

ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/v1/files",
        summary="Upload a file, whose bytes are stored while they arrive; a failed upload leaves nothing",
        handler=upload_file,
        access=Scope.WRITE,
        reach=Reach.ONE,
        body=NewFileFields,
        body_type=multipart.MEDIA_TYPE,
        is_shed=True,
        answers=(Answer(200, "The file", (FileView,), leads_to=_OF_FILE),),
        problems=(problems.FILES_FULL, problems.FILES_UNAVAILABLE),
    ),
    Endpoint(
        method="GET",
        path="/v1/files",
        summary="List the tenant's files, newest first; with `tenant=*` one tenant after the other",
        handler=listing.list_files,
        access=Scope.READ,
        reach=Reach.EACH,
        parameters=listing.PARAMETERS,
        answers=(Answer(200, "The files", (FileListView,)),),
    ),
    Endpoint(
        method="GET",
        path="/v1/files/{id}",
        summary="Read a file's facts, without its bytes",
        handler=read_file,
        access=Scope.READ,
        reach=Reach.ONE,
        answers=(Answer(200, "The file", (FileView,), leads_to=_OF_FILE),),
        id_schema=_ID,
    ),
    Endpoint(
        method="DELETE",
        path="/v1/files/{id}",
        summary="Delete a file and its bytes",
        handler=delete_file,
        access=Scope.WRITE,
        reach=Reach.ONE,
        answers=(Answer(200, "Deleted", (DeletedFileView,)),),
        problems=(problems.FILE_IN_USE,),
        id_schema=_ID,
    ),
    Endpoint(
        method="GET",
        path="/v1/files/{id}/content",
        summary="Read the bytes of a file; of a batch's output file also some lines, and the lines so far",
        handler=read_file_content,
        access=Scope.READ,
        reach=Reach.ONE,
        parameters=content.PARAMETERS,
        answers=(
            Answer(
                200,
                "The bytes",
                headers=("Content-Disposition", "Content-Length", content.INCOMPLETE, content.LAST_LINE),
                media_type=content.MEDIA_TYPE,
            ),
        ),
        problems=(problems.FILES_UNAVAILABLE,),
        id_schema=_ID,
    ),
)
