"""Reads what a deployment says about its model, for `doctor` and `top`."""

from .connection import ApiClient
from .shapes import Json, many


def read(api: ApiClient) -> Json:
    """Read the health of the model: what its probe said, and what happened to tasks. Raises the client's errors."""
    return api.get("/api/ai-status")


def described(found: Json) -> str:
    """Write the health as one line. A key without the scope `read` sees only the status."""
    status = str(found["status"])
    if "provider" not in found:
        return status if status == "healthy" else f"{status}: a key with the scope read sees why"
    said = [f"{status}: {found['provider']} {found['model']}, {found['detail']}"]
    if waiting := found.get("waiting"):
        said.append(f"{many(waiting, 'task')} waiting for it")
    if causes := ", ".join(f"{one['code']} {one['share']:.0%}" for one in found.get("codes", ())):
        said.append(f"of the latest tasks, {causes}")
    if since := found.get("since"):
        said.append(f"since {since}")
    return "; ".join(said)
