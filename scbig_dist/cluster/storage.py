"""Where a study's search is kept: an SQLite file in the study's directory, or a database that `--storage` names."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
import yaml
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from scbig_dist.errors import UserError
from scbig_dist.store.files import refuse_secrets

LOG = logging.getLogger("scbig.storage")
OWN_NAME = "study"  # of the one study in its own file
CONNECT_S = 5  # until a database that does not answer is given up, before a sweep begins
PATIENCE_S = 600.0  # the same, while it runs: a server that is started anew is worth waiting for
LOCKED_S = 60  # that an SQLite file may be held by another
EXAMPLE = "postgresql://USER@HOST/DATABASE"
ELSEWHERE = "leave it out: PostgreSQL's own PGPASSWORD, ~/.pgpass or PGSERVICEFILE give it"


@dataclass(frozen=True)
class Storage:
    """A database, None for the study's own file, and the study's name there. No secret is in it: `study.yaml` keeps it."""

    url: str | None
    name: str

    def record(self) -> dict[str, str | None]:
        return {"storage": self.url, "storage_name": self.name}

    def at(self, study_dir: Path) -> str:
        """The URL as Optuna takes it."""
        return self.url or f"sqlite:///{(study_dir / 'study.db').resolve()}"


OWN = Storage(None, OWN_NAME)


def kept_storage(study_dir: Path) -> Storage:
    """The storage that the study was begun with."""
    file = study_dir / "study.yaml"
    kept: Mapping[str, Any] = yaml.safe_load(file.read_text()) if file.is_file() else {}
    return Storage(kept.get("storage"), kept.get("storage_name") or OWN_NAME)


def choose_storage(asked: str | None, study_dir: Path) -> Storage:
    """The storage of a study that begins or goes on; UserError where it is another than it was begun with."""
    url = None if asked is None else _settled(asked)
    if not (study_dir / "study.yaml").is_file():
        # One database holds many studies: the name tells them apart for good, wherever the directory moves.
        return OWN if url is None else Storage(url, f"{study_dir.name}-{uuid.uuid4().hex[:8]}")
    kept = kept_storage(study_dir)
    if url is not None and url != kept.url:
        where = kept.url or f"{study_dir / 'study.db'}"
        raise UserError(f"--storage {asked}: the study in {study_dir} keeps its search in {where}; leave --storage out")
    return kept


def open_storage(storage: Storage, study_dir: Path) -> optuna.storages.RDBStorage:
    """Connected, with Optuna's tables in it; UserError in one line where that cannot be, within CONNECT_S."""
    url = storage.at(study_dir)
    where = f"--storage {url}"
    try:
        found = optuna.storages.RDBStorage(url, engine_kwargs=_engine(make_url(url)))
    except (ImportError, NoSuchModuleError) as error:
        text = str(error.__cause__ or error).splitlines()[0]
        raise UserError(
            f"{where}: no driver for this database ({text}); pip install 'psycopg[binary]' for PostgreSQL"
        ) from None
    except (SQLAlchemyError, RuntimeError) as error:  # RuntimeError: tables of another version of Optuna
        lines = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"{where}: cannot be used ({lines[0][:200]}); is the server up, the database there, PGPASSWORD or ~/.pgpass set?"
        ) from None

    if found.engine.dialect.name != "sqlite":
        sqlalchemy.event.listen(found.engine, "do_connect", partial(_connect_in_time, where))
    return found


def _connect_in_time(where: str, dialect: Any, record: Any, words: list[Any], named: dict[str, Any]) -> Any:
    """A connection in the place of one that the server has dropped, as soon as it takes one again."""
    began, said = time.monotonic(), False
    while True:
        try:
            return dialect.connect(*words, **named)
        except dialect.dbapi.OperationalError:
            if time.monotonic() - began > PATIENCE_S:
                raise
            if not said:
                LOG.warning(f"{where}: the database does not answer; the search waits for it, up to {PATIENCE_S:g} s")
                said = True
            time.sleep(1.0)


def refuse_password(url: str) -> None:
    refuse_secrets(url, "--storage", ELSEWHERE)


def _engine(url: URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": LOCKED_S}}
    # A sweep lasts for days: a connection that the server has dropped since is opened anew.
    connect = {"connect_timeout": CONNECT_S} if url.get_backend_name() == "postgresql" else {}
    return {"connect_args": connect, "pool_pre_ping": True}


def _settled(asked: str) -> str:
    """The URL as every later sitting can use it."""
    try:
        url = make_url(asked)
    except ArgumentError:
        named = "" if {*"@="} & {*asked} else f" {asked}"  # what cannot be taken apart may hold a password
        raise UserError(
            f"--storage{named}: not a URL of a database; e.g. {EXAMPLE} or sqlite:////shared/search.db"
        ) from None
    refuse_password(asked)
    if url.get_backend_name() != "sqlite":
        return asked
    if not url.database or ":memory:" in url.database:
        raise UserError(f"--storage {asked}: a database in memory ends with the sweep; name a file, sqlite:////PATH.db")
    path = Path(url.database).expanduser().resolve()
    if not path.parent.is_dir():
        raise UserError(f"--storage {asked}: no such directory {path.parent}; make it, or name another file")
    return url.set(database=str(path)).render_as_string()
