"""The member list of a custom endpoint, by the RDS API: one call, and what its answer means."""

from __future__ import annotations

from ..core.custom_endpoints import CustomEndpoint, Members
from ..core.logins import Unavailable
from .sessions import client, explained


def fetch_members(endpoint: CustomEndpoint) -> Members:
    """What RDS says now. Raises Unavailable with the reason.

    Needs the permission `rds:DescribeDBClusterEndpoints`.
    """
    with explained(f"the members of {endpoint} cannot be had"):
        service = client("rds", profile=endpoint.profile, region=endpoint.region)
        try:
            answer = service.describe_db_cluster_endpoints(
                DBClusterEndpointIdentifier=endpoint.name,
                Filters=[{"Name": "db-cluster-endpoint-type", "Values": ["custom"]}],
            )
        finally:
            service.close()
    found = [one for one in answer["DBClusterEndpoints"] if str(one.get("Endpoint", "")).lower() == endpoint.host]
    if not found:
        raise Unavailable(f"RDS knows nothing of {endpoint}")
    return Members(
        str(found[0].get("CustomEndpointType") or "ANY").upper(),
        frozenset(map(str.lower, found[0].get("StaticMembers") or ())),
        frozenset(map(str.lower, found[0].get("ExcludedMembers") or ())),
    )
