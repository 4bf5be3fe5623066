"""A local cluster of real servers that an Aurora MySQL client takes for Aurora; imports nothing above itself."""

from .cluster import Endpoint, LocalCluster, LocalServer, Promotion
from .errors import LabError
from .handles import Instance

__all__ = ["Endpoint", "Instance", "LabError", "LocalCluster", "LocalServer", "Promotion"]
