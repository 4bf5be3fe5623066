"""Reads OPTIONS once into a frozen value; everything wrong with them comes out as `Problem`s, never as a guess."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from .absence import NOBODY_AWAY, Absences, read_absences
from .asking import DEFAULT_PRIORITY, Preference, read_global_priority, read_priority
from .custom_endpoints import CustomEndpoint, read_custom_endpoint
from .detection import DEFAULT_DETECTION, Detection
from .endpoints import Address, EndpointKind, HostPattern, parse_endpoint, parse_host_pattern, parse_hosts, plain_host
from .global_database import check_isolation, read_regional_patterns, read_regions
from .initial import PLAIN, InitialConnection, read_initial
from .keepalive import KeepAlive, read_keepalive
from .logins import TOKEN_PLUGINS, Login, read_login
from .option_table import DEFAULT_STRATEGY, FORMER_NAMES, LATER_PREFIXES, MONITOR_PREFIXES, OPTION_TABLE, SPELLINGS
from .option_values import Given, Problem, nearest, parse_value
from .plugins import (
    DEFAULT_PLUGINS,
    ENDPOINTS,
    FAILOVER,
    MONITORING,
    PLUGIN_TABLE,
    RESPONSES,
    TOPOLOGY,
    parse_plugins,
    switched_on,
    unused_options,
)
from .pooling import PoolLimits, read_pool
from .preferences import ANY_READER, Preferences, read_preferences
from .regions import ALL_REGIONS, Regions
from .secret import hidden, names_an_account
from .splitting import Verification, read_spare, read_verification
from .tls import demanded_tls
from .zones import ZoneSource, read_zone_source

_LIMIT = OPTION_TABLE["connect_timeout"]  # which monitors take, too, whatever their driver calls it
_READER_LIMIT = "failover_reader_connect_timeout_sec"


class FailoverMode(enum.Enum):
    """Which instances a connection may be on after a failover."""

    STRICT_WRITER = "strict_writer"
    STRICT_READER = "strict_reader"
    READER_OR_WRITER = "reader_or_writer"


@dataclass(frozen=True, slots=True)
class Options:
    """One alias's choices. All times in seconds."""

    plugins: tuple[str, ...] = DEFAULT_PLUGINS
    cluster_id: str | None = None
    host_pattern: HostPattern | None = None
    regional_patterns: tuple[tuple[str, HostPattern], ...] = ()
    hosts: tuple[Address, ...] = ()
    dialect: str | None = None
    connect_timeout: float = 10.0
    read_only: bool = False
    failover_mode: FailoverMode = FailoverMode.STRICT_WRITER
    regions: Regions = ALL_REGIONS
    failover_timeout: float = 60.0
    reader_strategy: str = DEFAULT_STRATEGY
    failover_reader_strategy: str = DEFAULT_STRATEGY
    preferences: Preferences = ANY_READER
    failover_enabled: bool = True
    topology_refresh: float = 30.0
    topology_high_refresh: float = 0.01
    reconnect_interval: float = 0.1
    probe_timeout: float = 5.0
    priority: tuple[Preference, ...] = DEFAULT_PRIORITY
    global_priority: tuple[Preference, ...] = ()
    keepalive: KeepAlive | None = None
    detection_enabled: bool = True
    detection: Detection = DEFAULT_DETECTION
    disposal: float = 600.0
    topology_monitor_params: Mapping[str, object] = field(default_factory=dict, repr=False)
    host_monitor_params: Mapping[str, object] = field(default_factory=dict, repr=False)
    absences: Absences = NOBODY_AWAY
    zone_source: ZoneSource | None = None
    response_interval: float = 30.0
    response_params: Mapping[str, object] = field(default_factory=dict, repr=False)
    custom_endpoint: CustomEndpoint | None = None
    initial: InitialConnection = PLAIN
    connect_failover: bool = True
    reader_connect_timeout: float | None = None
    login: Login | None = None
    pool: PoolLimits | None = None
    verification: Verification | None = None
    spare_endpoint: Address | None = None

    @property
    def uses_topology(self) -> bool:
        """Whether the alias is placed on an instance of its cluster; without, it talks to HOST alone.

        Plugins alone decide: `read_only` says on which instance, not whether the cluster is looked at.
        """
        return switched_on(self.plugins, TOPOLOGY)

    @property
    def reads_from_host(self) -> bool:
        """Whether it reads from whatever HOST leads to, as nothing looks for a reader."""
        return self.read_only and not self.uses_topology and not switched_on(self.plugins, ENDPOINTS)

    @property
    def uses_failover(self) -> bool:
        return self.failover_enabled and switched_on(self.plugins, FAILOVER)

    @property
    def uses_host_monitoring(self) -> bool:
        """Failover brings it along: without it a frozen server would never be found dead."""
        return self.detection_enabled and switched_on(self.plugins, MONITORING)

    @property
    def extensions(self) -> tuple[str, ...]:
        """The plugins that are classes to be called, in the order in which they are named."""
        return tuple(name for name in self.plugins if name not in PLUGIN_TABLE or PLUGIN_TABLE[name].extension)

    @property
    def measures_responses(self) -> bool:
        is_chosen = "fastest_response" in (self.reader_strategy, self.failover_reader_strategy)
        return is_chosen or switched_on(self.plugins, RESPONSES)

    @property
    def connect_limit(self) -> float:
        """How long it may take to connect to one host, and to ask it what it is.

        A host that is silent from the beginning is not waited for any longer than one that falls silent later.
        """
        return min(self.connect_timeout, self.detection.limit) if self.uses_host_monitoring else self.connect_timeout


@dataclass(frozen=True, slots=True)
class ParsedOptions:
    """`driver` holds what goes to the driver untouched. Nothing here is to be used while a problem is fatal."""

    options: Options
    driver: Mapping[str, object] = field(repr=False)
    problems: tuple[Problem, ...]


def parse_options(
    raw: Mapping[Any, object],
    *,
    driver_names: Collection[str],
    misplaced: Mapping[str, str] = MappingProxyType({}),
    host: str = "",
    port: int = 3306,
    user: str = "",
    password: str = "",
    entry_points: Callable[[], Collection[str]] = frozenset,
) -> ParsedOptions:
    """Sort OPTIONS into ours and the driver's, and check ours.

    `driver_names` are the connect arguments the driver takes; a name that is neither is a problem. `misplaced` are
    names that the driver knows and that cannot be used, with what to write instead. `entry_points` gives the names of
    other distributions' plugins, and is asked only about a plugin that is not ours. Pure: the same input gives the
    same problems at check time and at connect time.
    """
    problems: list[Problem] = []
    values: dict[str, object] = {}
    driver: dict[str, object] = {}
    for_monitors: dict[str, dict[str, object]] = {prefix: {} for prefix in MONITOR_PREFIXES}
    for name, value in raw.items():
        setting = f"OPTIONS[{name!r}]"
        if not isinstance(name, str):
            problems.append(Problem(setting, "the name of an option is text.", ""))
            continue
        if (present := FORMER_NAMES.get(name)) is not None and present in raw:
            problems.append(Problem(setting, f"has no effect beside OPTIONS[{present!r}].", "", fatal=False))
            continue
        name = SPELLINGS.get(name, name)
        prefix = next((p for p in (*MONITOR_PREFIXES, *LATER_PREFIXES) if name.startswith(p)), None)
        if row := OPTION_TABLE.get(name):
            parsed = parse_value(row, value, problems)
            if row.active:
                values[name] = parsed
                if row.note and parsed is not None and parsed != row.default:
                    problems.append(Problem(setting, row.note, "", fatal=False))
            else:
                problems.append(Problem(setting, "is accepted but has no effect in this version.", "", fatal=False))
        elif prefix in LATER_PREFIXES:
            problems.append(Problem(setting, "is accepted but has no effect in this version.", "", fatal=False))
        elif prefix is not None:
            plain = name.removeprefix(prefix)
            if (plain := SPELLINGS.get(plain, plain)) == _LIMIT.name:
                limit = parse_value(replace(_LIMIT, name=name), value, problems)
                for_monitors[prefix] |= {} if limit is None else {plain: limit}
            elif plain in driver_names:
                for_monitors[prefix][plain] = hidden(plain, value)
            else:
                hint = nearest(plain, driver_names) or "Write an argument of the driver's connect() after the prefix."
                problems.append(Problem(setting, f"{plain!r} is not an option of the driver.", hint))
        elif name in misplaced:
            problems.append(Problem(setting, "cannot be used here.", misplaced[name]))
        elif name in driver_names:
            driver[name] = hidden(name, value)
        else:
            hint = nearest(name, {*OPTION_TABLE, *driver_names}) or "See the documentation's list of options."
            problems.append(Problem(setting, "is not an option of this backend or its driver.", hint))
    given = Given(values, problems)
    if (limit := given.of("socket_timeout")) is not None:  # drivers take whole seconds only
        seconds = math.ceil(float(limit))  # type: ignore[arg-type]
        driver = {**{name: seconds for name in ("read_timeout", "write_timeout") if name in driver_names}, **driver}
    options = _build(given, for_monitors, host, port, entry_points)
    for name, owners in unused_options(values, options.plugins).items():
        problems.append(Problem(f"OPTIONS[{name!r}]", f"has no effect without the plugin {owners}.", "", fatal=False))
    login = read_login(
        options.plugins,
        given.of,
        host=host,
        user=str(driver.get("user") or user),
        password=password,
        say=given.say,
    )
    if not TOKEN_PLUGINS.isdisjoint(options.plugins):
        driver |= demanded_tls(driver, driver_names, partial(_say_of, problems, "", driver_names))
        for prefix, own in for_monitors.items():
            if own and not names_an_account(own):  # it is given the alias's token, over a connection of its own making
                own |= demanded_tls({**driver, **own}, driver_names, partial(_say_of, problems, prefix, set(own)))
    if options.regions.forwards_writes:
        check_isolation(given, driver.get("isolation_level"))
    if login is not None:
        options = replace(options, login=login)
    return ParsedOptions(options, MappingProxyType(driver), tuple(problems))


def _say_of(problems: list[Problem], prefix: str, names: Collection[str], name: str, message: str, hint: str) -> None:
    """Of an argument of the driver, if it is one of these: with a prefix, the others have been spoken of without."""
    if name in names:
        problems.append(Problem(f"OPTIONS['{prefix}{name}']", message, hint))


def _build(
    given: Given,
    for_monitors: Mapping[str, Mapping[str, object]],
    host: str,
    port: int,
    entry_points: Callable[[], Collection[str]],
) -> Options:
    of, number = given.of, given.number
    pattern: HostPattern | None = None
    if text := of("cluster_instance_host_pattern"):
        try:
            pattern = parse_host_pattern(str(text), port)
        except ValueError as exc:
            given.say("OPTIONS['cluster_instance_host_pattern']", f"{text!r} cannot be used: {exc}.")
    hosts: tuple[Address, ...] = ()
    try:
        hosts = parse_hosts(of("hosts"), port)
    except ValueError as exc:
        hint = "Write a list of names, 'host' or 'host:port', or one text with commas between them."
        given.say("OPTIONS['hosts']", f"{exc}.", hint)
    is_reader_endpoint = parse_endpoint(host).kind is EndpointKind.READER
    read_only = bool(of("read_only"))
    plugins = parse_plugins(of("plugins"), given.problems, entry_points)
    custom_endpoint = read_custom_endpoint(given, plugins, host)
    regions = read_regions(given, plugins, host, read_only)
    mode = of("failover_mode")
    if mode is None:
        reads = read_only or is_reader_endpoint or custom_endpoint is not None
        reader_mode = "strict_reader" if regions.readers_stay else "reader_or_writer"
        mode = reader_mode if reads else "strict_writer"
    if read_only and mode == "strict_writer":
        given.say(
            "OPTIONS['failover_mode']",
            "'strict_writer' contradicts OPTIONS['read_only'].",
            "Use 'reader_or_writer' or 'strict_reader', or leave it out.",
        )
    strategy = str(of("reader_host_selector_strategy"))
    return Options(
        plugins=plugins,
        custom_endpoint=custom_endpoint,
        initial=read_initial(given, plugins, Address(plain_host(host or "localhost"), port)),
        connect_failover=bool(of("enable_connect_failover")),
        reader_connect_timeout=None if of(_READER_LIMIT) is None else number(_READER_LIMIT),
        cluster_id=given.text("cluster_id"),
        host_pattern=pattern,
        regional_patterns=read_regional_patterns(given, port),
        hosts=hosts,
        dialect=given.text("wrapper_dialect"),
        connect_timeout=number("connect_timeout"),
        read_only=read_only,
        failover_mode=FailoverMode(mode),
        regions=regions,
        failover_timeout=number("failover_timeout_sec"),
        reader_strategy=strategy,
        failover_reader_strategy=str(of("failover_reader_host_selector_strategy") or strategy),
        failover_enabled=bool(of("enable_failover")),
        topology_refresh=number("topology_refresh_ms"),
        topology_high_refresh=_high_rate(given),
        reconnect_interval=number("failover_writer_reconnect_interval_sec"),
        probe_timeout=number("auxiliary_query_timeout_sec"),
        priority=read_priority(given),
        global_priority=read_global_priority(given),
        keepalive=read_keepalive(given),
        detection_enabled=bool(of("failure_detection_enabled")),
        detection=Detection(
            time=number("failure_detection_time_ms"),
            interval=number("failure_detection_interval_ms"),
            count=int(number("failure_detection_count")),
        ),
        disposal=number("monitor_disposal_time_ms"),
        topology_monitor_params=MappingProxyType(for_monitors["topology-monitoring-"]),
        host_monitor_params=MappingProxyType(for_monitors["monitoring-"]),
        preferences=read_preferences(given),
        zone_source=read_zone_source(given, host),
        absences=read_absences(given),
        response_interval=number("response_measurement_interval_ms"),
        response_params=MappingProxyType(for_monitors["frt-"]),
        pool=read_pool(given),
        verification=read_verification(given, plugins, port),
        spare_endpoint=read_spare(given, plugins, port, is_strict=mode == "strict_reader"),
    )


def _high_rate(given: Given) -> float:
    """How often a cluster without a writer is asked; by the name for it that the first failover has, if by no other."""
    name, other = "cluster_topology_high_refresh_rate_ms", "failover_cluster_topology_refresh_rate_sec"
    return given.number(other if given.values.get(name) is None and given.of(other) is not None else name)
