"""Tenants own tasks. A request's API key alone decides its tenant. Without REQUIRE_KEYS, the tenant is `local`."""

import re

LOCAL = "local"
TENANT_PATTERN = "[a-z0-9][a-z0-9-]{0,62}"
TENANTS_A_PAGE = 8  # Tenants on a page of a request for all tenants, at one to three calls to D1 each.
TENANT_TASKS_MOST = 500  # A tenant's figures count at most so many of its newest tasks, with a row read for each.
TENANT_TAKES = "1 to 63 lower-case letters, digits and hyphens, no hyphen first"

_TENANT = re.compile(TENANT_PATTERN)


def is_tenant(text: str) -> bool:
    """Whether the text is a valid name of a tenant. Task keys begin with the tenant's name and a colon."""
    return _TENANT.fullmatch(text) is not None
