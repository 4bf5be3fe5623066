"""In which availability zone each instance is, by the RDS API: one call."""

from __future__ import annotations

from collections.abc import Collection

from ..core.zones import ZoneSource
from .sessions import client, explained


def fetch_zones(source: ZoneSource, ids: Collection[str]) -> dict[str, str]:
    """The zones of these instances by id, of those that RDS knows. Raises Unavailable with the reason.

    Needs the permission `rds:DescribeDBInstances`.
    """
    with explained(f"the zones of the instances in {source.region} cannot be had"):
        service = client("rds", profile=source.profile, region=source.region)
        try:
            filters = [{"Name": "db-instance-id", "Values": sorted(ids)}]
            pages = service.get_paginator("describe_db_instances").paginate(Filters=filters)
            found = [instance for page in pages for instance in page["DBInstances"]]
        finally:
            service.close()
    return {one["DBInstanceIdentifier"]: zone for one in found if (zone := one.get("AvailabilityZone"))}
