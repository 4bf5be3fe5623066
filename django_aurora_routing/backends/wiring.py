"""The only place where the rooms are put together: from one alias's settings to its options and its cluster."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from ..cluster.cluster import Cluster
from ..cluster.connector import Search
from ..cluster.credentials import CREDENTIALS
from ..cluster.link import Link, Links
from ..cluster.registry import cluster_of, known_cluster
from ..cluster.settings import ClusterSettings
from ..conf import did_you_mean, routing_settings
from ..core.endpoints import (
    DEFAULT_PORT,
    Address,
    EndpointKind,
    cluster_key,
    default_host_pattern,
    parse_endpoint,
    plain_host,
)
from ..core.global_database import all_patterns
from ..core.option_values import Problem
from ..core.options import Options, ParsedOptions, parse_options
from ..core.secret import names_an_account
from ..core.splitting import fixed_endpoint
from ..drivers.base import Driver
from ..plugins.loading import UnusablePlugin, entry_point_names, find_plugin
from .pooling import pool_problems

DJANGO_OPTION_NAMES = frozenset({"isolation_level"})
"""Names in OPTIONS that Django's own MySQL backend takes out before the driver sees them."""

# What no profile may say: routing goes by an alias's own `read_only`.
_ALIAS_ITSELF = frozenset({"profile_name", "read_only"})
# What belongs to the application's session, or changes how answers look.
_NOT_FOR_MONITORS = (
    *("database", "db", "init_command", "autocommit", "read_timeout", "write_timeout"),
    *("raw", "use_unicode", "converter_class", "raise_on_warnings"),
    *("conv", "sql_mode", "binary_prefix"),
)
_OF_SERVERS = {EndpointKind.INSTANCE, EndpointKind.IP, EndpointKind.OTHER}


def seed_of(settings_dict: Mapping[str, Any]) -> Address:
    """HOST and PORT of an alias, with MySQL's defaults; or the fixed endpoint that it goes to."""
    port = int(settings_dict.get("PORT") or DEFAULT_PORT)
    if (endpoint := fixed_endpoint(given_options(settings_dict), port)) is not None:
        return endpoint
    return Address(plain_host(settings_dict.get("HOST") or "localhost"), port)


def given_options(settings_dict: Mapping[str, Any]) -> Mapping[Any, Any]:
    """OPTIONS, and what the profile has that they name. Raises ImproperlyConfigured, which says what is wrong there."""
    options: Mapping[Any, Any] = settings_dict.get("OPTIONS") or {}
    name = options.get("profile_name")
    if name is None:
        return options
    profiles = routing_settings().profiles or {}
    profile = profiles.get(name) if isinstance(name, str) else None
    if profile is None:
        raise ImproperlyConfigured(f"AURORA_ROUTING['PROFILES'] has no {name!r}.{did_you_mean(name, profiles)}")
    if not isinstance(profile, Mapping) or not _ALIAS_ITSELF.isdisjoint(profile):
        which = " or ".join(map(repr, sorted(_ALIAS_ITSELF)))
        raise ImproperlyConfigured(f"AURORA_ROUTING['PROFILES'][{name!r}] must be a dict of options, without {which}.")
    return {**profile, **{key: value for key, value in options.items() if key != "profile_name"}}


def parse_settings(
    settings_dict: Mapping[str, Any], driver_names: Collection[str], misplaced: Mapping[str, str]
) -> ParsedOptions:
    """Read an alias's OPTIONS. Never raises; what is wrong is in `problems`."""
    host, port = settings_dict.get("HOST", ""), settings_dict.get("PORT") or DEFAULT_PORT
    options: Any = settings_dict.get("OPTIONS") or {}
    problem: Problem | None = None
    if not isinstance(host, str):
        problem = Problem("HOST", f"must be text, not {host!r}.", "")
    elif not re.fullmatch("[0-9]{1,5}", str(port)) or not 0 < int(port) < 65536:
        problem = Problem("PORT", f"must be a number from 1 to 65535, not {port!r}.", "")
    elif not isinstance(options, Mapping):
        problem = Problem("OPTIONS", f"must be a dictionary, not a {type(options).__name__}.", "")
    else:
        try:
            options = given_options(settings_dict)
        except ImproperlyConfigured as exc:
            problem = Problem("OPTIONS['profile_name']", str(exc), "")
    if problem is not None:
        return ParsedOptions(Options(plugins=()), {}, (problem,))
    if (endpoint := fixed_endpoint(options, int(port))) is not None:
        host, port = endpoint.host, endpoint.port
    parsed = parse_options(
        options,
        driver_names={*driver_names, *DJANGO_OPTION_NAMES},
        misplaced=misplaced,
        host=host,
        port=int(port),
        user=str(settings_dict.get("USER") or ""),
        password=str(settings_dict.get("PASSWORD") or ""),
        entry_points=entry_point_names,
    )
    parsed = replace(parsed, problems=(*parsed.problems, *_problems_of(parsed.options.extensions)))
    if parsed.options.pool is not None:
        parsed = replace(parsed, problems=(*parsed.problems, *pool_problems(settings_dict)))
    return parsed


def _problems_of(extensions: Iterable[str]) -> Iterator[Problem]:
    """What is wrong with the plugins that are classes; they are imported here, which is their first use."""
    for name in extensions:
        try:
            find_plugin(name)
        except UnusablePlugin as exc:
            yield Problem("OPTIONS['plugins']", str(exc), exc.hint)


def checked_options(
    alias: str, settings_dict: Mapping[str, Any], driver_names: Collection[str], misplaced: Mapping[str, str]
) -> ParsedOptions:
    """Read an alias's OPTIONS. Raises ImproperlyConfigured that says what to write instead."""
    parsed = parse_settings(settings_dict, driver_names, misplaced)
    if fatal := [problem for problem in parsed.problems if problem.fatal]:
        lines = "\n".join(f"  {problem}" for problem in fatal)
        raise ImproperlyConfigured(f"DATABASES[{alias!r}] cannot be used:\n{lines}")
    return parsed


def is_placed(settings_dict: Mapping[str, Any], options: Options) -> bool:
    """Whether the alias's connections are placed on an instance of a cluster; else it talks to HOST alone.

    It does when no plugin wants the topology, and when HOST is a proxy, which tells nothing of what is behind it.
    """
    return options.uses_topology and not _hides_instances(seed_of(settings_dict))


def _hides_instances(seed: Address) -> bool:
    return parse_endpoint(seed.host).kind.hides_instances


def cluster_key_of(settings_dict: Mapping[str, Any], options: Options) -> str:
    """What the alias's cluster is called in this process."""
    seed = seed_of(settings_dict)
    return options.cluster_id or cluster_key(parse_endpoint(seed.host), seed.port)


def cluster_settings_of(settings_dict: Mapping[str, Any], options: Options) -> ClusterSettings:
    """What the alias says of its cluster."""
    seed = seed_of(settings_dict)
    implied = (default_host_pattern(parse_endpoint(name.host), name.port) for name in (seed, *options.hosts))
    return ClusterSettings(
        seed=seed,
        hosts=options.hosts,
        pattern=all_patterns(options.regional_patterns, options.host_pattern or next(filter(None, implied), None)),
        dialect=options.dialect,
        refresh=options.topology_refresh,
        high_refresh=options.topology_high_refresh,
        reconnect_interval=options.reconnect_interval,
        probe_timeout=options.probe_timeout,
        priority=options.priority,
        global_priority=options.global_priority,
        detection=options.detection,
        disposal=options.disposal,
        absences=options.absences,
        lists_instances=_lists_instances(seed, options),
        accessible=options.regions.accessible,
    )


def _lists_instances(seed: Address, options: Options) -> bool:
    """Whether HOST and `hosts` may be servers, and not further names of a cluster that tells of itself."""
    kinds = {parse_endpoint(name.host).kind for name in (seed, *options.hosts)}
    return bool(options.hosts) and options.host_pattern is None and kinds <= _OF_SERVERS


def cluster_known_to(settings_dict: Mapping[str, Any], options: Options, driver: Driver) -> Cluster | None:
    """The alias's cluster, if anybody in this process has connected to it; for who may not connect himself."""
    seed = seed_of(settings_dict)
    if not options.uses_topology or _hides_instances(seed):
        return None
    return known_cluster(_registered_as(seed, options, driver), options.cluster_id)


def search_for(
    alias: str,
    settings_dict: Mapping[str, Any],
    options: Options,
    driver: Driver,
    params: Mapping[str, Any],
    setup: str = "",
) -> Search | None:
    """What places the alias's connections, each of which is to run `setup`; None when it talks to HOST alone."""
    seed = seed_of(settings_dict)
    if not options.uses_topology or _hides_instances(seed) or params.get("unix_socket"):
        return None
    plain = {name: value for name, value in params.items() if name not in _NOT_FOR_MONITORS}
    # As a server has it, so that nothing needs to be sent for it; the drivers' own default is another.
    plain |= {"read_timeout": math.ceil(options.probe_timeout), "autocommit": True}
    links = Links(
        Link(driver, _with_monitors_own(plain, options.topology_monitor_params)),
        Link(driver, _with_monitors_own(plain, options.host_monitor_params)),
        options.connect_limit,
    )
    key = _registered_as(seed, options, driver)

    def make() -> Cluster:
        name = cluster_key_of(settings_dict, options)
        return Cluster(name, cluster_settings_of(settings_dict, options), links, cluster_id=options.cluster_id)

    cluster = cluster_of(key, make)
    measuring = None
    if options.measures_responses:
        measuring = Link(driver, _with_monitors_own(plain, options.response_params))
    return Search(key, cluster, links, options, alias=alias, measuring=measuring, setup=setup)


def _registered_as(seed: Address, options: Options, driver: Driver) -> Hashable:
    """What the alias's cluster is found by in the registry.

    It is one a driver, whose monitors end and close connections of each other's and of the applications'. That two
    aliases with one `cluster_id` lead to one cluster is to be shown yet.
    """
    return cluster_key(parse_endpoint(seed.host), seed.port), options.cluster_id, driver


def _with_monitors_own(params: Mapping[str, Any], own: Mapping[str, object]) -> Mapping[str, Any]:
    """Credentials of the alias's are for its own user: a monitor that is given another logs in by that one's."""
    if not own:
        return params
    has_own = names_an_account(own)
    return {**{name: value for name, value in params.items() if not has_own or name != CREDENTIALS}, **own}
