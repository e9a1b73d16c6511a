"""Opens the database, checks or creates its schema, and runs transactions.

The queries are functions on a ``FeedbackDatabase`` in ``annotations``, ``recording_rows``,
``review``, ``privacy`` and so on. Calls block; the service makes them on threads. A failed
transaction is rolled back.
"""

import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Table,
    create_engine,
    event,
    func,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.schema import CreateColumn

from earful.service.feedback.database_url import DatabaseAddress
from earful.service.feedback.errors import DatabaseFull, DatabaseUnavailable, FeedbackError
from earful.service.feedback.prediction_ids import KEY_BYTES
from earful.service.feedback.schema import META_TABLE, SCHEMA_VERSION, check_schema
from earful.service.feedback.sqlite import (
    BUSY_SECONDS,
    configure_connection,
    enable_wal,
    ensure_writable_file,
    file_identity,
    inspect_file,
)
from earful.service.feedback.tables import SENDER_INDEX, annotations_table, meta, metadata

CONNECTIONS = 4
# PostgreSQL advisory lock while the tables are created: an arbitrary number.
_SCHEMA_LOCK = 0x6561_7273
_STATEMENT_SECONDS = 10
# PostgreSQL's code of an error, appendix A of its manual.
_DISK_FULL = "53100"


class FeedbackDatabase:
    """An open database; safe for several threads and processes."""

    def __init__(self, address: DatabaseAddress, engine: Engine) -> None:
        self.address = address
        self.sqlite = address.path is not None
        self._engine = engine
        self._write_engine = engine.execution_options(earful_write=True)
        self._file_id = file_identity(address.path) if address.path else None
        # Threads of one process queue here: SQLite's file lock is polled and unfair.
        self._write_lock = threading.Lock()

    @contextmanager
    def read_transaction(self) -> Iterator[Connection]:
        """A read transaction.

        Raises:
            DatabaseUnavailable: the database is locked for too long, or unreachable.
        """
        with self._translate_errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write_transaction(self, lock_key: str = "") -> Iterator[Connection]:
        """A write transaction; transactions with the same ``lock_key`` run one after another.

        Raises:
            DatabaseUnavailable: as ``read_transaction``; nothing is written.
        """
        with self._translate_errors(), ExitStack() as stack:
            if self.sqlite:
                if not self._write_lock.acquire(timeout=BUSY_SECONDS):
                    raise DatabaseUnavailable("the database is busy")
                stack.callback(self._write_lock.release)
            connection = stack.enter_context(self._write_engine.begin())
            if lock_key and not self.sqlite:
                connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(lock_key))))
            yield connection

    def upsert(self, table: Table, rows: list[dict[str, Any]]) -> Any:
        """A statement that inserts rows, and updates rows whose primary key exists."""
        dialect = sqlite if self.sqlite else postgresql
        statement = dialect.insert(table).values(rows)
        keys = list(table.primary_key)
        values = {c.name: statement.excluded[c.name] for c in table.c if c not in keys}
        return statement.on_conflict_do_update(index_elements=keys, set_=values)

    def prediction_key(self) -> bytes:
        """The key of the prediction ids, shared by all users of the database."""
        with self.read_transaction() as connection:
            key = connection.scalar(select(meta.c.value).where(meta.c.name == "prediction_key"))
        return bytes.fromhex(str(key))

    def claim_turn(self, task: str, now: float, every_seconds: float) -> bool:
        """Whether the caller should run a periodic task: one of all workers per interval."""
        task_row = meta.c.name == f"{task}_at"
        with self.write_transaction(task) as connection:
            last = connection.scalar(select(meta.c.value).where(task_row))
            if last is not None and 0 <= now - float(last) < every_seconds:
                return False
            row = {"name": f"{task}_at", "value": repr(now)}
            connection.execute(self.upsert(meta, [row]))
        return True

    def truncate_journal(self) -> None:
        """Remove deleted data from the journal beside an SQLite file."""
        if self.sqlite:
            with self._translate_errors(), self._engine.connect() as connection:
                raw = connection.connection.dbapi_connection
                if raw is not None:  # a checkpoint cannot run in a transaction
                    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Raise database errors as ``DatabaseUnavailable``, without SQL and its parameters."""
        path = self.address.path
        if path is not None and file_identity(path) != self._file_id:
            raise DatabaseUnavailable(f"{path} was deleted or replaced; restart the service")
        try:
            yield
        except PoolTimeoutError as error:
            raise DatabaseUnavailable("all connections to the database are in use") from error
        except DBAPIError as error:
            failure = DatabaseFull if _is_full(error) else DatabaseUnavailable
            raise failure(_error_text(error)) from error


def open_database(address: DatabaseAddress, *, create: bool = True) -> FeedbackDatabase:
    """Open a database; ``create`` adds the tables to an empty one.

    Raises:
        FeedbackError: the database cannot be used, or holds something else and is left unchanged.
    """
    if address.path is not None:
        check_schema(address, *inspect_file(address.path), create)
        ensure_writable_file(address.path)
        enable_wal(address.path)
    engine = _engine(address)
    database = FeedbackDatabase(address, engine)
    try:
        with database.read_transaction() as connection:
            tables = set(inspect(connection).get_table_names())
            meta_rows = _read_meta(connection) if META_TABLE in tables else {}
        check_schema(address, tables, meta_rows, create)
        if not meta_rows:
            _create_tables(database, address)
        elif meta_rows["schema_version"] != str(SCHEMA_VERSION):
            _add_senders(database)
    except DatabaseUnavailable as error:
        engine.dispose()
        raise FeedbackError(f"cannot use {address}: {error}") from error
    except FeedbackError:
        engine.dispose()
        raise
    return database


def _create_tables(database: FeedbackDatabase, address: DatabaseAddress) -> None:
    """Create the tables and the key once, also when several processes start together."""
    rows = {"schema_version": str(SCHEMA_VERSION), "prediction_key": secrets.token_hex(KEY_BYTES)}
    with database.write_transaction() as connection:
        if not database.sqlite:
            connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
        if META_TABLE not in inspect(connection).get_table_names():
            metadata.create_all(connection)
            connection.execute(
                meta.insert(), [{"name": name, "value": rows[name]} for name in rows]
            )
        check_schema(address, {META_TABLE}, _read_meta(connection), create=False)


def _add_senders(database: FeedbackDatabase) -> None:
    """Bring schema version 2 to 3 once, also when several processes start together.

    Programs that still have it open go on: their rows have no sender.
    """
    version = meta.update().where(meta.c.name == "schema_version")
    with database.write_transaction() as connection:
        if not database.sqlite:
            connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
        if _read_meta(connection)["schema_version"] == str(SCHEMA_VERSION):
            return
        column = CreateColumn(annotations_table.c.sender).compile(dialect=connection.dialect)
        connection.execute(text(f"ALTER TABLE {annotations_table.name} ADD COLUMN {column}"))
        SENDER_INDEX.create(connection)
        connection.execute(version.values(value=str(SCHEMA_VERSION)))


def _read_meta(connection: Connection) -> dict[str, str]:
    return {row.name: row.value for row in connection.execute(select(meta))}


def _engine(address: DatabaseAddress) -> Engine:
    common: dict[str, Any] = {"pool_size": CONNECTIONS, "pool_timeout": BUSY_SECONDS}
    if address.path is not None:
        url = URL.create("sqlite", database=str(address.path.absolute()))
        engine = create_engine(url, **common)
        event.listen(engine, "connect", lambda connection, _: configure_connection(connection))
        event.listen(engine, "begin", _begin)
        return engine
    try:
        engine = create_engine(
            make_url(address.url), pool_pre_ping=True, connect_args=_CONNECT_ARGS, **common
        )
    except ModuleNotFoundError as error:
        raise FeedbackError(
            "PostgreSQL needs psycopg; install it with: uv sync --inexact --extra postgres"
        ) from error
    except (ArgumentError, ValueError) as error:  # their text may hold the password
        raise FeedbackError(
            "invalid PostgreSQL URL; write it as "
            "postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE"
        ) from error
    event.listen(engine, "connect", _set_timeouts)
    return engine


# libpq options that detect an unreachable server (s, s, ms).
_CONNECT_ARGS = {"connect_timeout": 5, "keepalives_idle": 10, "tcp_user_timeout": 10_000}


def _begin(connection: Connection) -> None:
    """Take the write lock at the start: upgrading from a read lock can fail with "locked"."""
    writes = connection.get_execution_options().get("earful_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _set_timeouts(connection: Any, _record: object) -> None:
    """Limit PostgreSQL statements and locks; the URL's ``options`` stay unchanged."""
    connection.execute(f"SET statement_timeout = '{_STATEMENT_SECONDS}s'")
    connection.execute(f"SET lock_timeout = '{round(BUSY_SECONDS)}s'")
    connection.commit()


def _is_full(error: DBAPIError) -> bool:
    sqlite_code = getattr(error.orig, "sqlite_errorcode", None)
    return sqlite_code == sqlite3.SQLITE_FULL or getattr(error.orig, "sqlstate", None) == _DISK_FULL


def _error_text(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
    return lines[0][:200]
