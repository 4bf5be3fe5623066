"""Follows a name of one's own (a CNAME) to the RDS name that it stands for, by the system's resolver; keeps nothing."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from ..core.endpoints import Endpoint, EndpointKind, parse_endpoint

Resolve = Callable[[str], Sequence[str]]
"""Gives all the names that a host name leads to; none where it is not known."""

_FOLLOWED = (EndpointKind.OTHER, EndpointKind.GLOBAL)


def names_behind(host: str) -> Sequence[str]:
    """What the system's resolver says, in no order: with DNS, each name on the way of the CNAMEs.

    An RDS endpoint is a CNAME itself, so the last name of the way may be that of an instance, or none of RDS's.
    """
    try:
        name, aliases, _ = socket.gethostbyname_ex(host)
    except (OSError, UnicodeError):
        pass
    else:
        return [name, *aliases]
    try:  # it may have IPv6 addresses alone; of the way this tells only the end
        found = socket.getaddrinfo(host, None, flags=socket.AI_CANONNAME)
    except (OSError, UnicodeError):
        return []
    return [name for *_, name, _ in found if name]


def rds_name_behind(host: str, resolve: Resolve = names_behind) -> Endpoint | None:
    """The RDS name, with a region, that a host name leads to; None for one that leads to none, or is one.

    It asks the resolver, and waits for it. An IP address leads nowhere; a global database's endpoint leads to the
    endpoint of the cluster that writes now.
    """
    own = parse_endpoint(host)
    if own.kind not in _FOLLOWED:
        return None
    met = [endpoint for endpoint in map(parse_endpoint, resolve(own.host)) if endpoint.region]
    # Of a cluster's endpoint and the instance that it leads to now, what the name stands for is the endpoint.
    return min(met, key=lambda endpoint: endpoint.kind is EndpointKind.INSTANCE, default=None)
