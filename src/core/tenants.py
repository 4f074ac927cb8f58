"""Tenants: whose a task is. A tenant comes from the API key alone; without keys there is one, `local`."""

import re

LOCAL = "local"
TENANT_PATTERN = "[a-z0-9][a-z0-9-]{0,62}"
TENANTS_A_PAGE = 8  # that a request for all tenants visits: each costs one to three calls to D1
TENANT_TASKS_MOST = 500  # tasks of a tenant that its figures count, the newest: a row read for each
TENANT_TAKES = "1 to 63 lower-case letters, digits and hyphens, no hyphen first"

_TENANT = re.compile(TENANT_PATTERN)


def is_tenant(text: str) -> bool:
    """Whether the text may name a tenant: it becomes a part of keys, up to their first colon."""
    return _TENANT.fullmatch(text) is not None
