"""The entries of the API's table for the calls about files."""

from typing import Final

from ....kernel.api.base import problems
from ....kernel.api.base.endpoint import Answer, Endpoint
from ....kernel.api.base.exchange import Reach
from ....kernel.domain.ids import FILE_ID_PATTERN
from ....kernel.domain.keys import Scope
from .. import multipart
from . import content, handlers, listing
from .shapes import DeletedFileView, FileListView, FileView, NewFileFields

_ID = {"type": "string", "pattern": f"^{FILE_ID_PATTERN}$"}
_OF_FILE = tuple((name, "id", "/id") for name in ("readFile", "readFileContent", "deleteFile"))

ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/v1/files",
        summary="Upload a file, whose bytes are stored while they arrive; a failed upload leaves nothing",
        handler=handlers.upload_file,
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
        handler=handlers.read_file,
        access=Scope.READ,
        reach=Reach.ONE,
        answers=(Answer(200, "The file", (FileView,), leads_to=_OF_FILE),),
        id_schema=_ID,
    ),
    Endpoint(
        method="DELETE",
        path="/v1/files/{id}",
        summary="Delete a file and its bytes",
        handler=handlers.delete_file,
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
        handler=handlers.read_file_content,
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
