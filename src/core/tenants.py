"""Tenants own tasks. Decides a request's tenant from its API key alone. Without REQUIRE_KEYS, the tenant is `local`."""

import re

LOCAL = "local"
TENANT_PATTERN = "[a-z0-9][a-z0-9-]{0,62}"
# How many tenants one page of a request for all tenants shows, with one to three calls to D1 for each.
TENANTS_A_PAGE = 8
# How many of a tenant's newest tasks are counted in the tenant's figures; each task takes one row read.
TENANT_TASKS_MOST = 500
TENANT_TAKES = "1 to 63 lower-case letters, digits and hyphens, no hyphen first"

_TENANT = re.compile(TENANT_PATTERN)


def is_tenant(text: str) -> bool:
    """Whether the text is a valid name of a tenant. Task keys begin with the tenant's name and a colon."""
    return _TENANT.fullmatch(text) is not None
