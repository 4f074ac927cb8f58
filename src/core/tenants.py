"""Tenants own tasks. The API key alone decides the tenant. Without keys there is one tenant, `local`."""

import re

LOCAL = "local"
TENANT_PATTERN = "[a-z0-9][a-z0-9-]{0,62}"
TENANTS_A_PAGE = 8  # Tenants that a request for all tenants reads: each costs one to three calls to D1.
TENANT_TASKS_MOST = 500  # Newest tasks of a tenant that its figures count: each reads one row.
TENANT_TAKES = "1 to 63 lower-case letters, digits and hyphens, no hyphen first"

_TENANT = re.compile(TENANT_PATTERN)


def is_tenant(text: str) -> bool:
    """Whether the text is a valid name of a tenant. The name becomes the part of keys before their first colon."""
    return _TENANT.fullmatch(text) is not None
