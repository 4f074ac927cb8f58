"""Stores the bytes of one upload in parts while they arrive, and makes the file ready at the end.

An upload that fails leaves nothing. If its invocation dies, the sweep erases what is left.
"""

import asyncio

from ....kernel.api.base.problems import FILES_FULL, FILES_UNAVAILABLE, TOO_LARGE, FieldError, Refusal, overload_refusal
from ....kernel.domain import limits
from ....kernel.domain.database_state import DatabaseLoad
from ....kernel.domain.errors import BlobUnavailable, StoreError
from ....kernel.domain.ids import FileKey
from ....kernel.domain.settings import Settings
from ....kernel.run.log import Log
from ....kernel.run.memory import MemoryAllowance, MemoryShare
from ..blobs import Buffer
from ..file import File, FilePart
from ..store import FilesFull, FileStore
from .form import NewFile

_NO_BUCKET = (
    f"A file may have at most {limits.FILE_BYTES_MOST_IN_D1} bytes here, because the deployment has no bucket. Bind an "
    "R2 bucket as BLOBS to store larger files."
)


class Upload:
    """One upload. `add` takes the file's bytes, and holds at most one part of them in the bucket's buffer."""

    def __init__(
        self,
        store: FileStore,
        key: FileKey,
        created_at: int,
        settings: Settings,
        load: DatabaseLoad,
        log: Log,
        memory: MemoryAllowance,
    ) -> None:
        self._memory = memory
        self._share: MemoryShare | None = None
        self._store = store
        self._key = key
        self._created_at = created_at
        self._load = load
        self._log = log
        self._settings = settings
        self._most = settings.file_bytes
        if store.bucket.shelf == "d1":
            self._most = min(settings.file_bytes, limits.FILE_BYTES_MOST_IN_D1)
        self._size = 0
        self._parts: list[FilePart] = []
        self._buffer: Buffer | None = None
        self._is_begun = False

    @property
    def body_bytes_most(self) -> int:
        """How many bytes the body of a request with a file may have."""
        return self._most + limits.FORM_BYTES_MOST

    async def take_memory(self, content_length: str | None) -> None:
        """Take the memory for one part. Raises MemoryShort, and Refusal (413) for a length that is too much."""
        part, digits = self._store.bucket.part_bytes, (content_length or "").strip()
        if digits.isascii() and digits.isdigit():
            if int(digits[:20]) > self.body_bytes_most:
                raise self._too_large()
            part = min(part, int(digits[:20]))
        if self._store.bucket.shelf == "d1":
            part *= limits.MEMORY_A_BYTE
        size = part + limits.MEMORY_UPLOAD_BYTES
        self._share = await self._memory.share("request", size, limits.MEMORY_WAIT_SECONDS, self._free)

    def close(self) -> None:
        """Release the memory."""
        self._free()
        if self._share is not None:
            self._share.close()

    def _free(self) -> None:
        if self._buffer is not None:
            self._buffer.free()
            self._buffer = None

    def _renew(self) -> None:
        """Give a sign of life. Raises MemoryShort if the memory was taken back, because the client was slow."""
        assert self._share is not None, "no memory was taken"
        self._share.renew()

    async def add(self, content: bytes) -> None:
        """Take bytes, and store each full part. Raises Refusal (413, 503, 507), and MemoryShort if too slow."""
        self._renew()
        self._size += len(content)
        if self._size > self._most:
            raise self._too_large()
        part_bytes = self._store.bucket.part_bytes
        if self._buffer is None:
            self._buffer = self._store.bucket.buffer()
        at = 0
        while at < len(content):
            until = at + part_bytes - len(self._buffer)
            self._buffer.append(content[at:until])
            at = until
            if len(self._buffer) == part_bytes:
                await self._put(self._buffer)

    async def finish(self, new: NewFile) -> File:
        """Store the last part, and make the file ready. Raises Refusal (507) if the tenant's files have no room."""
        await self._begin()
        self._renew()
        if self._buffer is not None and len(self._buffer):
            await self._put(self._buffer)
        file = await self._store.ready(
            self._key,
            purpose=new.purpose,
            filename=new.filename,
            parts=self._parts,
            keeps_ms=new.keeps_ms,
            use_most=self._settings.files_bytes,
        )
        match file:
            case FilesFull(used, most):
                detail = f"The tenant's files have {used} of at most {most} bytes together. Delete files first."
                raise Refusal(FILES_FULL, f"{detail} The limit is MAX_FILES_BYTES.", [FieldError("file", detail)])
            case None:
                hour = limits.UPLOAD_SECONDS_MOST
                raise Refusal(FILES_UNAVAILABLE, f"The upload took more than {hour} s.", headers={"Retry-After": "5"})
            case _:
                return file

    async def abort(self) -> None:
        """Erase what is stored. What cannot be erased now is erased by the sweep."""
        if not self._is_begun:
            return
        try:
            async with asyncio.timeout(limits.BLOB_SECONDS):
                await self._store.abort(self._key)
        except (StoreError, BlobUnavailable, TimeoutError) as error:
            self._log("upload_not_erased", file=self._key, error=type(error).__name__)

    async def _begin(self) -> None:
        if not self._is_begun:
            # The database may have become slow while the bytes arrived. What is stored below probes it.
            if not self._load.admits(asyncio.get_running_loop().time()):
                raise overload_refusal()
            self._is_begun = True  # before the write, which may land although its answer is lost
            settings = self._settings
            full = await self._store.begin(
                self._key, self._created_at, settings.files_most, settings.storage_bytes_most
            )
            if full is not None:
                self._is_begun = False  # nothing is stored
                detail = f"The tenant has {full.most} files or more, the limit MAX_FILES. Delete files first."
                raise Refusal(FILES_FULL, detail, [FieldError("file", detail)])

    async def _put(self, buffer: Buffer) -> None:
        await self._begin()
        self._renew()
        part = FilePart(str(len(self._parts)), len(buffer))
        await self._store.bucket.put(self._key, part.name, buffer)
        self._renew()  # memory that was lent to others is empty, and a repeated `put` may have stored it so
        self._parts.append(part)
        buffer.clear()

    def _too_large(self) -> Refusal:
        over_bucket = self._most < self._settings.file_bytes
        detail = _NO_BUCKET if over_bucket else f"A file may have at most {self._most} bytes (MAX_FILE_BYTES)."
        return Refusal(TOO_LARGE, detail, [FieldError("file", detail)])
