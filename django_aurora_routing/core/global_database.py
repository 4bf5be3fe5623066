"""Reads the options of a global database: its regions, what an alias wants of them, how their instances are named."""

from __future__ import annotations

from collections.abc import Collection

from .endpoints import EndpointKind, HostPattern, RegionalPatterns, parse_endpoint, parse_host_pattern
from .option_values import Given, Problem, nearest
from .regions import REGION_MODES, Regions, Wish, is_region

GDB_FAILOVER, GDB_RW = "gdb_failover", "gdb_rw"
# What the AWS wrapper's documents say not to use at the same time.
_RIVALS = {GDB_FAILOVER: ("failover", "failover_v2"), GDB_RW: ("read_write_splitting", "srw")}
_EXAMPLE = "'us-east-1:?.abc123.us-east-1.rds.amazonaws.com,eu-west-1:?.def456.eu-west-1.rds.amazonaws.com'"


def read_regions(given: Given, plugins: Collection[str], host: str, read_only: bool) -> Regions:
    """What an alias says of regions. HOST's region is the home region where none is given."""
    for plugin, rivals in _RIVALS.items():
        if plugin in plugins and (found := sorted({*rivals} & {*plugins})):
            hint = f"Leave out {' and '.join(map(repr, found))}: {plugin!r} does what it does, and minds the region."
            given.say("OPTIONS['plugins']", f"{plugin!r} and {found[0]!r} cannot be used at the same time.", hint)
    accessible = _accessible(given, host)
    home = rw_home = ""
    active: Wish | None = None
    inactive: Wish | None = None
    if GDB_FAILOVER in plugins:
        home = _home(given, "failover_home_region", GDB_FAILOVER, host, accessible)
        active, inactive = (_mode(given, f"{which}_home_failover_mode", host, read_only) for which in _HOMES)
        if given.values.get("failover_mode") is not None:
            message = f"has no effect beside the plugin {GDB_FAILOVER!r}, which goes by active_home_failover_mode and "
            message += "inactive_home_failover_mode."
            given.problems.append(Problem("OPTIONS['failover_mode']", message, "", fatal=False))
    if GDB_RW in plugins:
        rw_home = _home(given, "gdb_rw_home_region", GDB_RW, host, accessible)
    return Regions(
        accessible=accessible,
        home=home,
        active=active,
        inactive=inactive,
        rw_home=rw_home,
        writer_stays=GDB_RW in plugins and bool(given.of("gdb_rw_restrict_writer_to_home_region")),
        readers_stay=GDB_RW in plugins and bool(given.of("gdb_rw_restrict_reader_to_home_region")),
        forwards_writes=GDB_RW in plugins and bool(given.of("gdb_enable_global_write_forwarding")) and not read_only,
    )


_HOMES = ("active", "inactive")
FORWARDING_ISOLATION = "repeatable read"


def check_isolation(given: Given, level: object) -> None:
    """Of an alias whose writes may be forwarded: Aurora forwards them from sessions of one isolation level alone.

    https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-global-database-write-forwarding-ams.html
    """
    if level and str(level).lower() != FORWARDING_ISOLATION:
        said = f"{level!r} and gdb_enable_global_write_forwarding exclude each other."
        given.say("OPTIONS['isolation_level']", said, f"Use {FORWARDING_ISOLATION!r}, or leave it out: it is the same.")


def _accessible(given: Given, host: str) -> frozenset[str]:
    name = "gdb_accessible_regions"
    regions = _regions(given, name)
    own = parse_endpoint(host).region
    if regions and own and own not in regions:
        said = f"HOST {host!r} is in {own!r}, which is not one of them."
        given.say(f"OPTIONS[{name!r}]", said, "Add it, or set HOST to a name in a region that can be reached.")
    return regions


def _home(given: Given, name: str, plugin: str, host: str, accessible: frozenset[str]) -> str:
    home = next(iter(_regions(given, name)), "") or parse_endpoint(host).region
    if not home and given.values.get(name) is None:
        said = f"is missing: the plugin {plugin!r} needs a home region, and HOST {host!r} tells none."
        given.say(f"OPTIONS[{name!r}]", said, "Set it to the AWS region of the application, for example 'eu-west-1'.")
    elif home and accessible and home not in accessible:
        said = (
            f"the home region {home!r} is none of OPTIONS['gdb_accessible_regions'] ({', '.join(sorted(accessible))})."
        )
        given.say(f"OPTIONS[{name!r}]", said, "The home region has to be accessible.")
    return home


def _mode(given: Given, name: str, host: str, read_only: bool) -> Wish:
    mode = given.of(name)
    if mode is None:
        follows = not read_only and parse_endpoint(host).kind in (EndpointKind.CLUSTER, EndpointKind.GLOBAL)
        mode = "strict_writer" if follows else "home_reader_or_writer"
    elif read_only and mode == "strict_writer":
        hint = "Use one of the modes with a reader, or leave it out."
        given.say(f"OPTIONS[{name!r}]", "'strict_writer' contradicts OPTIONS['read_only'].", hint)
    return REGION_MODES[str(mode)]


def _regions(given: Given, name: str) -> frozenset[str]:
    """The names of regions in an option, in lower case; what is none is a problem."""
    found = set()
    for text in (given.text(name) or "").lower().split(","):
        if not (region := text.strip()):
            continue
        known = regions_with_a_pattern(given)
        if not is_region(region):
            given.say(f"OPTIONS[{name!r}]", f"{region!r} is no AWS region.", nearest(region, known))
        elif known and region not in known:
            hint = nearest(region, known) or f"There, {', '.join(sorted(known))} have one."
            said = f"{region!r} has no host pattern in OPTIONS['global_cluster_instance_host_patterns']."
            given.say(f"OPTIONS[{name!r}]", said, hint)
        else:
            found.add(region)
    return frozenset(found)


# -- how instances are named


def regions_with_a_pattern(given: Given) -> frozenset[str]:
    """The regions that `global_cluster_instance_host_patterns` names; none where it cannot be read."""
    try:
        return frozenset(region for region, _ in parse_regional_patterns(given.text(_PATTERNS) or "", 0))
    except ValueError:
        return frozenset()


_PATTERNS = "global_cluster_instance_host_patterns"


def read_regional_patterns(given: Given, port: int) -> tuple[tuple[str, HostPattern], ...]:
    """The host pattern of each region."""
    text = given.text(_PATTERNS) or ""
    try:
        return parse_regional_patterns(text, port)
    except ValueError as exc:
        given.say(f"OPTIONS[{_PATTERNS!r}]", f"{text!r} cannot be used: {exc}.", f"Write, for example, {_EXAMPLE}.")
        return ()


def parse_regional_patterns(text: str, default_port: int) -> tuple[tuple[str, HostPattern], ...]:
    """Read `<region>:?.<domain>` or `<region>:?.<domain>:<port>`, with commas between them.

    Where the domain is RDS's own, the region may be left out. Raises ValueError with the reason.
    """
    patterns: dict[str, HostPattern] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        first, _, rest = entry.partition(":")
        named = "" if "?" in first else first.strip().lower()
        pattern = parse_host_pattern(rest if named else entry, default_port)
        own = parse_endpoint(pattern.pattern.replace("?", "x")).region
        if named and not is_region(named):
            raise ValueError(f"{named!r} is no AWS region")
        if named and own and named != own:
            raise ValueError(f"{pattern.pattern!r} is in {own!r}, not in {named!r}")
        if not (region := named or own):
            raise ValueError(f"the region of {entry!r} is missing")
        if region in patterns:
            raise ValueError(f"{region!r} comes twice")
        patterns[region] = pattern
    return tuple(patterns.items())


def all_patterns(regional: tuple[tuple[str, HostPattern], ...], single: HostPattern | None) -> HostPattern | None:
    """How the instances of all regions are named; `single`, which names no region, serves those that it can."""
    if not regional:
        return single
    return RegionalPatterns(single.pattern if single else "", single.port if single else 0, regional)
