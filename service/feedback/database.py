"""The database: opened, its schema checked or made, and its transactions.

Feedback, clips and people each have a module of their own with functions on a ``Store``. Calls
block; the service makes them on threads. What fails in a transaction is undone as a whole.
"""

import secrets
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
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from earful.service.feedback.database_url import DatabaseAddress
from earful.service.feedback.errors import DatabaseUnavailable, FeedbackError
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
from earful.service.feedback.tables import meta, metadata

CONNECTIONS = 4
# One that comes first makes the tables, the others wait: any number that nobody else locks.
_SCHEMA_LOCK = 0x6561_7273
_STATEMENT_SECONDS = 10


class FeedbackDatabase:
    """An open database; safe to use from several threads and processes."""

    def __init__(self, address: DatabaseAddress, engine: Engine) -> None:
        self.address = address
        self.sqlite = address.path is not None
        self._engine = engine
        self._write_engine = engine.execution_options(earful_write=True)
        self._file_id = file_identity(address.path) if address.path else None
        # Threads of one process take turns here, which is fair and quick, and not at the file.
        self._write_lock = threading.Lock()

    @contextmanager
    def read_transaction(self) -> Iterator[Connection]:
        """A transaction that reads.

        Raises:
            StoreUnavailable: the database is locked for too long, or away.
        """
        with self._translate_errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write_transaction(self, lock_key: str = "") -> Iterator[Connection]:
        """A transaction that writes; those ``about`` the same wait for one another.

        Raises:
            StoreUnavailable: as ``reading``; nothing is written.
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
        """Insert rows; those whose primary key is there already replace what it has."""
        dialect = sqlite if self.sqlite else postgresql
        statement = dialect.insert(table).values(rows)
        keys = list(table.primary_key)
        values = {c.name: statement.excluded[c.name] for c in table.c if c not in keys}
        return statement.on_conflict_do_update(index_elements=keys, set_=values)

    def prediction_key(self) -> bytes:
        """The key of the prediction ids: one for all who share the database."""
        with self.read_transaction() as connection:
            found = connection.scalar(select(meta.c.value).where(meta.c.name == "prediction_key"))
        return bytes.fromhex(str(found))

    def claim_turn(self, task: str, now: float, every_seconds: float) -> bool:
        """Whether it is the caller, of all who share the database, whose turn a task is now."""
        mine = meta.c.name == f"{task}_at"
        with self.write_transaction(task) as connection:
            last = connection.scalar(select(meta.c.value).where(mine))
            if last is not None and 0 <= now - float(last) < every_seconds:
                return False
            row = {"name": f"{task}_at", "value": repr(now)}
            connection.execute(self.upsert(meta, [row]))
        return True

    def truncate_journal(self) -> None:
        """Leave nothing of what was deleted in the journal beside an SQLite file."""
        if self.sqlite:
            with self._translate_errors(), self._engine.connect() as connection:
                raw = connection.connection.dbapi_connection
                if raw is not None:  # a checkpoint is not for transactions
                    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Database errors as ours, without the statements that SQLAlchemy shows."""
        path = self.address.path
        if path is not None and file_identity(path) != self._file_id:
            raise DatabaseUnavailable(f"{path} was deleted or replaced; start the service again")
        try:
            yield
        except PoolTimeoutError as error:
            raise DatabaseUnavailable("all connections to the database are in use") from error
        except DBAPIError as error:
            raise DatabaseUnavailable(_error_text(error)) from error


def open_database(address: DatabaseAddress, *, create: bool = True) -> FeedbackDatabase:
    """Open a database; one with nothing in it gets the tables where ``create``.

    Raises:
        FeedbackError: it cannot be used, or holds something else, which is then left as it is.
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
            found = _read_meta(connection) if META_TABLE in tables else {}
        check_schema(address, tables, found, create)
        if not found:
            _create_tables(database, address)
    except DatabaseUnavailable as error:
        engine.dispose()
        raise FeedbackError(f"cannot use {address}: {error}") from error
    except FeedbackError:
        engine.dispose()
        raise
    return database


def _create_tables(database: FeedbackDatabase, address: DatabaseAddress) -> None:
    """The tables and the key, made once however many come at the same time."""
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
    except (ArgumentError, ValueError) as error:  # their text may show the URL
        raise FeedbackError(
            "the PostgreSQL URL cannot be read; write it as "
            "postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE"
        ) from error
    event.listen(engine, "connect", _set_timeouts)
    return engine


# Of libpq, so that a database that has gone away is noticed: seconds, and milliseconds.
_CONNECT_ARGS = {"connect_timeout": 5, "keepalives_idle": 10, "tcp_user_timeout": 10_000}


def _begin(connection: Connection) -> None:
    """A writer takes the lock first: one that read before could find that it may not write."""
    writes = connection.get_execution_options().get("earful_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _set_timeouts(connection: Any, _record: object) -> None:
    """No statement of PostgreSQL waits for ever; ``options`` of the URL stay as they are."""
    connection.execute(f"SET statement_timeout = '{_STATEMENT_SECONDS}s'")
    connection.execute(f"SET lock_timeout = '{round(BUSY_SECONDS)}s'")
    connection.commit()


def _error_text(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
    return lines[0][:200]
