"""Uploads of files by clients: of the input of a batch, or of a text."""

import asyncio
import json
from collections.abc import Mapping

from simulator.campaign.clients.batches.readers import Fetch
from simulator.campaign.subject.arrivals import BOUNDARY, ClientRequest

TRIES_MOST = 4
PAUSE_SECONDS = 1.0


def form(body: bytes, purpose: str, kept_seconds: int | None = None) -> list[bytes]:
    """Return the pieces of the form that uploads a file, which do not end where the form's parts end."""
    fields = [("purpose", purpose)]
    if kept_seconds is not None:
        fields += [("expires_after[anchor]", "created_at"), ("expires_after[seconds]", str(kept_seconds))]
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields
    ]
    file = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="in"\r\n\r\n'
    whole = "".join(parts).encode() + file.encode() + body + f"\r\n--{BOUNDARY}--\r\n".encode()
    size = max(1, len(whole) // 3 + 1)
    return [whole[at : at + size] for at in range(0, len(whole), size)]


async def upload(fetch: Fetch, headers: Mapping[str, str], pieces: list[bytes]) -> str | None:
    """Upload a file, again if no answer comes. Returns its id, None if it is refused."""
    for _ in range(TRIES_MOST):
        reply = await fetch(ClientRequest("POST", "/v1/files", headers=headers, upload=pieces))
        if reply is not None and reply.status == 200:
            return str(json.loads(reply.body)["id"])
        if reply is not None and reply.status not in {503, 507}:
            return None
        await asyncio.sleep(PAUSE_SECONDS)
    return None
