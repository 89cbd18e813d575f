"""What stands in the two files, version by version: their tables, how an older file becomes the newest, and rows that prove themselves.

Every row but those of `meta` ends with its `proof`: a hash over its table's name and its values. A byte
that changed is seen when the row is read or checked, and a damaged file gives back every row that proves itself.
"""

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

Migration = Callable[[sqlite3.Connection], None]

#: The columns of each table in their stored order, without `proof`, which is the last one.
COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "runs": ("id", "command", "since", "finished"),
    "sources": ("path", "size", "mtime_ns", "pipeline", "run"),
    "lines": ("seq", "source", "path", "stage", "status", "file", "line"),
    "since": ("source", "path", "stage", "run"),
    "raised": ("source", "stage", "pipeline", "granted", "run"),
    "bought": ("document", "stage", "call"),
    "places": ("source", "place"),
    "calls": (
        "id", "key", "take", "run", "endpoint", "reserved", "cost", "state", "at", "tokens",
    ),
    "replies": ("key", "take", "run", "request", "body", "sha256", "asked"),
    "words": ("sha256", "page", "reader", "body"),
    "shelf": ("name", "value", "until"),
}  # fmt: skip

_META = "create table if not exists meta (name text primary key, value) without rowid"


def proof(table: str, *values: Any) -> bytes:
    """The hash that stands beside a row: 8 bytes over its table's name and values; bytes count by their sha256."""
    told = json.dumps([table, *values], default=lambda body: hashlib.sha256(body).hexdigest())
    return hashlib.sha256(told.encode()).digest()[:8]


def proven(table: str) -> tuple[str, ...]:
    """The columns that a row's proof covers: what an answer and its request hold has hashes of its own among them."""
    return tuple(c for c in COLUMNS[table] if table != "replies" or c not in {"request", "body"})


def proving(table: str) -> str:
    """The SQL that computes the proof of a row from its columns."""
    return f"proof('{table}', {', '.join(proven(table))})"


@cache
def inserting(table: str, verb: str = "insert") -> str:
    """The SQL that inserts a row with its proof, given its columns by name."""
    names = ", ".join(f":{column}" for column in COLUMNS[table])
    covered = ", ".join(f":{column}" for column in proven(table))
    columns = ", ".join((*COLUMNS[table], "proof"))
    return f"{verb} into {table} ({columns}) values ({names}, proof('{table}', {covered}))"


def asked(request: str) -> str:
    """What tells requests apart: sha256 over the text that is kept beside the answer."""
    return hashlib.sha256(request.encode()).hexdigest()


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    """Bring a file from its version to the newest, each step in a transaction with its number.

    A kill leaves it at one version or the next. Two processes that open a file at once do it once.
    """
    while (version := version_of(connection)) < len(migrations):
        connection.execute("begin immediate")
        try:
            if version_of(connection) == version:
                connection.execute(_META)
                connection.execute(
                    "insert or ignore into meta values ('id', ?), ('commits', 0)",
                    (secrets.token_hex(8),),
                )
                migrations[version](connection)
                connection.execute("update meta set value = value + 1 where name = 'commits'")
                connection.execute(f"pragma user_version = {version + 1}")
            connection.execute("commit")
        except BaseException:
            connection.execute("rollback")
            raise


def version_of(connection: sqlite3.Connection) -> int:
    """The version of a file; 0 for an empty one, and for one of a release that did not count them yet."""
    return int(connection.execute("pragma user_version").fetchone()[0])


def _run(connection: sqlite3.Connection, script: str) -> None:
    for statement in script.split(";"):
        connection.execute(statement)


def _prove(connection: sqlite3.Connection, *tables: str) -> None:
    for table in tables:
        connection.execute(f"alter table {table} add column proof blob")
        connection.execute(f"update {table} set proof = {proving(table)}")  # noqa: S608, a table of ours


def _ledger_1(connection: sqlite3.Connection) -> None:
    """Calls know when they were sent and their tokens; rows prove themselves; lines are counted by their index."""
    _run(connection, _LEDGER_0)
    known = {row[1] for row in connection.execute("pragma table_info(calls)")}
    for column in ("at real", "tokens integer"):
        if column.split()[0] not in known:
            connection.execute(f"alter table calls add column {column} not null default 0")
    _prove(connection, "runs", "sources", "lines", "since", "calls")
    _run(
        connection,
        """drop index if exists lines_source;
           create index lines_known on lines (source, path, stage, status, file, proof)""",
    )


def _replies_1(connection: sqlite3.Connection) -> None:
    """Answers are told from others by their request; rows prove themselves."""
    _run(connection, _REPLIES_0)
    connection.execute("alter table replies add column asked text not null default ''")
    connection.create_function("asked", 1, asked, deterministic=True)
    connection.execute("update replies set asked = asked(request)")
    _prove(connection, "replies", "words", "shelf")
    connection.execute(
        "create index replies_known on replies (key, take, run, asked, sha256, proof)"
    )


# As they were before versions were counted: a file of then, or an empty one, becomes version 1.
_LEDGER_0 = """
create table if not exists runs (
  id integer primary key, command text not null, since integer not null, finished integer not null default 0);
create table if not exists sources (
  path text primary key, size integer not null, mtime_ns integer not null,
  pipeline text not null, run integer not null) without rowid;
create table if not exists lines (
  seq integer primary key, source text not null, path text not null, stage text not null,
  status text not null, file text, line text not null, unique (path, stage));
create table if not exists since (
  source text not null, path text not null, stage text not null, run integer not null,
  primary key (source, path, stage)) without rowid;
create table if not exists calls (
  id integer primary key, key text not null, take integer not null, run integer not null,
  endpoint text not null, reserved integer, cost integer, state text not null);
create index if not exists calls_state on calls (state)
"""

_REPLIES_0 = """
create table if not exists replies (
  key text not null, take integer not null, run integer not null,
  request text not null, body blob not null, sha256 text not null,
  primary key (key, take, run)) without rowid;
create table if not exists words (
  sha256 text not null, page integer not null, reader text not null, body blob not null,
  primary key (sha256, page, reader)) without rowid;
create table if not exists shelf (
  name text primary key, value text not null, until real not null) without rowid;
create index if not exists shelf_until on shelf (until)
"""


def _ledger_2(connection: sqlite3.Connection) -> None:
    """Which documents may go up to the next model, where a stage bounds how many: granted 1 or 0, and in which run; for whom calls were."""
    _run(
        connection,
        """create table raised (
             source text not null, stage text not null, pipeline text not null, granted integer not null,
             run integer not null, proof blob, primary key (source, stage)) without rowid;
           create table bought (
             document text not null, stage text not null, call integer not null, proof blob,
             primary key (document, stage, call)) without rowid""",
    )


def _ledger_3(connection: sqlite3.Connection) -> None:
    """Which row of its file a row is that goes by an id."""
    _run(
        connection,
        """create table places (
             source text primary key, place integer not null, proof blob) without rowid""",
    )


#: ledger.sqlite, from version n to n + 1. Released ones are never changed: a new one is added at the end.
LEDGER: Final[tuple[Migration, ...]] = (_ledger_1, _ledger_2, _ledger_3)
#: replies.sqlite, likewise.
REPLIES: Final[tuple[Migration, ...]] = (_replies_1,)
