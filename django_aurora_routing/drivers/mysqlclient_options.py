"""The arguments that mysqlclient connects with, by name. Imports no driver, so that settings can be checked without."""

from __future__ import annotations

OPTION_NAMES = frozenset(
    # MySQLdb/connections.py, Connection.__init__, and src/MySQLdb/_mysql.c, _mysql_ConnectionObject_Initialize
    """
    user password passwd database db unix_socket conv compress init_command read_default_file read_default_group
    use_unicode charset collation auth_plugin sql_mode client_flag multi_statements read_timeout write_timeout
    ssl_mode ssl server_public_key_path local_infile local_infile_dir autocommit binary_prefix
    """.split()
)
"""The arguments that a connection of the driver takes; where it leads to is chosen by us at each connect."""

MISPLACED_OPTIONS = {
    **dict.fromkeys(("host", "port"), "Use DATABASES' own HOST and PORT."),
    "named_pipe": "Use DATABASES' own HOST and PORT; a named pipe leads to one server only.",
    "cursorclass": "The backend has a cursor class of its own, which knows what was sent and what was answered.",
    "executemany_fallback": "Statements that are sent as one could not be told apart when the connection is lost.",
    "client_flags": "mysqlclient calls it 'client_flag', a number.",
    **dict.fromkeys(
        ("ssl_ca", "ssl_cert", "ssl_key", "ssl_disabled", "ssl_verify_cert", "ssl_verify_identity"),
        "mysqlclient takes 'ssl_mode', and 'ssl', a dictionary with 'ca', 'cert' and 'key'.",
    ),
    "use_pure": "It belongs to mysql-connector-python; mysqlclient has one implementation.",
}
"""Names that cannot be used here, each with what to write instead."""
