"""Owns the command line: `up`, `status`, `down`, and every fault, on a cluster found by its name."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from . import places
from .cluster import LocalCluster
from .errors import LabError
from .handles import Instance
from .kinds import KINDS

PROGRAM = "python -m django_aurora_routing.lab"
DEFAULT_NAME = "default"

_SETTINGS = """
DATABASES = {{
    "default": {{
        "ENGINE": "django_aurora_routing.backends.mysql_connector",
        "HOST": "{host}",
        "PORT": "{port}",
        "NAME": "{database}",
        "USER": "{user}",
        "PASSWORD": "{password}",
        "OPTIONS": {options},
    }}
}}
"""

# Command, what it takes besides the instance, what is said afterwards, its help.
_ON_INSTANCES = (
    ("kill", "{id} is dead.", "SIGKILL an instance's server"),
    ("freeze", "{id} is frozen; thaw it with `thaw {id}`.", "SIGSTOP an instance's server"),
    ("thaw", "{id} goes on as {role}.", "end a freeze"),
    ("revive", "{id} is back as {role}.", "start a dead instance again"),
    ("refuse", "{id} refuses new connections, until `heal {id}`.", "refuse new connections"),
    ("reset", "The connections to {id} were reset.", "reset the connections there are now"),
    ("black-hole", "{id} swallows everything, until `heal {id}`.", "swallow everything sent to an instance"),
    ("lose-answers", "{id} works, and its answers are lost, until `heal {id}`.", "hold an instance's answers back"),
    ("heal", "{id} has no fault on the wire.", "end refuse, black-hole, lose-answers and delay"),
)


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code: 0, 1 for a lab that could not, 2 for a command nobody knows."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        return 130


def _up(options: argparse.Namespace) -> None:
    cluster = LocalCluster(
        readers=options.readers,
        kind=options.kind,
        name=options.name,
        databases=options.database or ("app",),
        port=options.port,
        detached=True,
        say=lambda text: print(f"... {text}", flush=True),
    )
    cluster.start()
    _print_status(cluster.as_dict())
    print(
        _SETTINGS.format(
            host=cluster.writer_endpoint.host,
            port=cluster.port,
            database=cluster.default_database,
            user=cluster.user,
            password=cluster.password,
            options=json.dumps({"plugins": "failover", **_what_finds_the_instances(cluster)}),
        )
    )
    print(f"It lives until `{PROGRAM} down{_name_option(options.name)}`, or the machine's next start.")


def _what_finds_the_instances(cluster: LocalCluster) -> dict[str, Any]:
    """The option that a client of this kind of cluster needs; where its members tell their addresses, none."""
    if cluster.kind == "replication":
        return {"hosts": [instance.host for instance in cluster.instances]}
    tell_addresses = cluster.kind in ("multi-az", "group-replication")
    return {} if tell_addresses else {"cluster_instance_host_pattern": cluster.host_pattern}


def _status(options: argparse.Namespace) -> None:
    status = _cluster(options).as_dict()
    if options.json:
        print(json.dumps(status, indent=2))
    else:
        _print_status(status)


def _down(options: argparse.Namespace) -> None:
    _cluster(options).stop()
    print(f"The cluster {options.name!r} is gone, with its files.")


def _list(options: argparse.Namespace) -> None:
    names = places.living()
    print("\n".join(names) if names else "No cluster is running.")


def _promote(options: argparse.Namespace) -> None:
    cluster = _cluster(options)
    instance = _instance(cluster, options.instance) if options.instance else None
    promotion = cluster.promote(instance)
    milliseconds = promotion.seconds * 1000
    print(f"{promotion.new} is the writer in place of {promotion.old}, after {milliseconds:.0f} ms.")


def _add_reader(options: argparse.Namespace) -> None:
    instance = _cluster(options).add_reader()
    print(f"{instance.id} is a reader at {instance.host}:{instance.port}.")


def _delay(options: argparse.Namespace) -> None:
    instance = _instance(_cluster(options), options.instance)
    instance.delay(options.seconds)
    print(f"Each way to {instance.id} takes {options.seconds:g} s longer, until `heal {instance.id}`.")


def _lag(options: argparse.Namespace) -> None:
    instance = _instance(_cluster(options), options.instance)
    instance.delay_replication(options.seconds)
    print(f"{instance.id} applies transactions {options.seconds} s late.")


def _hold_endpoint(options: argparse.Namespace) -> None:
    _cluster(options).hold_endpoint()
    print("The writer endpoint leads to today's writer, whoever is promoted, until `release-endpoint`.")


def _release_endpoint(options: argparse.Namespace) -> None:
    _cluster(options).release_endpoint()
    print("The writer endpoint leads to the writer.")


def _on_instance(options: argparse.Namespace) -> None:
    instance = _instance(_cluster(options), options.instance)
    getattr(instance, options.command.replace("-", "_"))()
    print(options.said.format(id=instance.id, role=instance.role))


def _cluster(options: argparse.Namespace) -> LocalCluster:
    try:
        return LocalCluster.attach(options.name)
    except LabError as error:
        others = places.living()
        hint = f"Running: {', '.join(others)} (see --name)." if others else f"Start one: `{PROGRAM} up`."
        raise LabError(f"{error} {hint}") from error


def _instance(cluster: LocalCluster, text: str) -> Instance:
    """An instance by its id, or by a role: `writer`, or `reader` for the first one that runs."""
    if text == "writer":
        return cluster.writer
    if text == "reader":
        return next((reader for reader in cluster.readers if reader.state == "running"), cluster.readers[0])
    return cluster.instance(text)


def _print_status(status: dict[str, Any]) -> None:
    print(f"cluster {status['name']}   user {status['user']}   password {status['password']}")
    print(f"  writer endpoint  {status['writer_endpoint']}")
    print(f"  reader endpoint  {status['reader_endpoint']}")
    for instance in status["instances"]:
        address = f"{instance['host']}:{instance['port']}"
        process = f"pid {instance['pid']}" if instance["pid"] else "no process"
        faults = "  ".join(instance["faults"])
        print(
            f"  {instance['id']}  {address:<17} {instance['role']:<7} {instance['state']:<8} {process:<12}"
            f" connections {instance['connections']:<4} {faults}".rstrip()
        )


def _name_option(name: str) -> str:
    return "" if name == DEFAULT_NAME else f" --name {name}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="A local cluster of real servers that an Aurora MySQL client takes for Aurora."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(command: str, run: Any, help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(command, help=help, description=help)
        sub.add_argument("--name", default=DEFAULT_NAME, help="which cluster, where there are several")
        sub.set_defaults(run=run)
        return sub

    up = add("up", _up, "start a cluster that lives until `down`")
    up.add_argument("--readers", type=int, default=2, help="how many readers (2)")
    up.add_argument("--kind", choices=KINDS, default="aurora", help="what it answers as (aurora)")
    up.add_argument("--port", type=int, help="the port of all addresses; a free one by default")
    up.add_argument("--database", action="append", help="a database to create (app); may be repeated")
    add("status", _status, "show addresses, roles and states").add_argument(
        "--json", action="store_true", help="print it as JSON"
    )
    add("down", _down, "end the cluster and remove its files")
    add("list", _list, "show the names of the clusters that run")
    add("promote", _promote, "make a reader the writer").add_argument(
        "instance", nargs="?", help="which; by default the reader that has most"
    )
    add("add-reader", _add_reader, "add a reader")
    add("hold-endpoint", _hold_endpoint, "let the writer endpoint lag behind promotions, as a DNS name does")
    add("release-endpoint", _release_endpoint, "let it lead to the writer again")
    for command, said, help in _ON_INSTANCES:
        sub = add(command, _on_instance, help)
        sub.add_argument("instance", help="an id as in `status`, or `writer`, or `reader`")
        sub.set_defaults(said=said)
    for command, run, kind, help in (
        ("delay", _delay, float, "make each way to an instance take longer"),
        ("lag", _lag, int, "let a reader apply transactions late"),
    ):
        sub = add(command, run, help)
        sub.add_argument("instance", help="an id as in `status`, or `reader`")
        sub.add_argument("seconds", type=kind)
    return parser
