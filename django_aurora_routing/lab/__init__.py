"""A local cluster of real servers that an Aurora MySQL client takes for Aurora; imports nothing of the layers above."""

from .cluster import Endpoint, Instance, LocalCluster, LocalServer, Promotion
from .errors import LabError

__all__ = ["Endpoint", "Instance", "LabError", "LocalCluster", "LocalServer", "Promotion"]
