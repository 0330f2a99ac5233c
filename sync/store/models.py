"""The tables, without behaviour: rows become values elsewhere (`Record`, `Manifest`, `Head`)."""

from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    Text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

# The order of bytes on both databases, in any locale of PostgreSQL.
Word = Text().with_variant(Text(collation="C"), "postgresql")


class NameList(TypeDecorator[tuple[str, ...]]):
    """A list of strings, stored as one JSON text."""

    impl = Text
    cache_ok = True

    def process_bind_param(
        self,
        value: tuple[str, ...] | None,
        dialect: Dialect,  # noqa: ARG002 - SQLAlchemy's signature
    ) -> str:
        return orjson.dumps(value or ()).decode()

    def process_result_value(
        self,
        value: Any,
        dialect: Dialect,  # noqa: ARG002 - SQLAlchemy's signature
    ) -> tuple[str, ...]:
        # We write lists only. Other text is returned as it is, so that `verify` can name its
        # record and `list` can show it.
        try:
            listed = tuple(orjson.loads(value))
        except (orjson.JSONDecodeError, TypeError):
            return (str(value),)
        return listed if orjson.dumps(listed).decode() == value else (value,)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(referred_table_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )


class Stores(Base):
    """One row: the UUID that the store's objects carry in the clusters."""

    __tablename__ = "store"

    uuid: Mapped[str] = mapped_column(Word, primary_key=True)
    created: Mapped[str] = mapped_column(Word)


class Bodies(Base):
    """Each body once: its SHA-256 in lower-case hex, and the compressed bytes."""

    __tablename__ = "bodies"

    sha256: Mapped[str] = mapped_column(Word, primary_key=True)
    zlib: Mapped[bytes] = mapped_column(LargeBinary)


class Heads(Base):
    """The last record of each chain; appending locks its row."""

    __tablename__ = "heads"

    chain: Mapped[str] = mapped_column(Word, primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(Word)
    time: Mapped[str] = mapped_column(Word)


class Records(Base):
    """The audit trail; the columns are the fields of `Record`, in their order."""

    __tablename__ = "records"
    __table_args__ = (Index(None, "time", "chain", "sequence"),)

    chain: Mapped[str] = mapped_column(Word, primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    time: Mapped[str] = mapped_column(Word)
    run: Mapped[str] = mapped_column(Word)
    kind: Mapped[str] = mapped_column(Word)
    trigger: Mapped[str] = mapped_column(Word)
    cluster: Mapped[str] = mapped_column(Word)
    object_kind: Mapped[str] = mapped_column(Word)
    object_name: Mapped[str] = mapped_column(Word)
    action: Mapped[str] = mapped_column(Word)
    cause: Mapped[str] = mapped_column(Word)
    before: Mapped[str] = mapped_column(Word)
    after: Mapped[str] = mapped_column(Word)
    found: Mapped[str] = mapped_column(Word)
    plan: Mapped[str] = mapped_column(Word)
    firewall_version: Mapped[str] = mapped_column(Word)
    administrators: Mapped[tuple[str, ...]] = mapped_column(NameList)
    description: Mapped[str] = mapped_column(Word)
    rules: Mapped[tuple[str, ...]] = mapped_column(NameList)
    groups: Mapped[tuple[str, ...]] = mapped_column(NameList)
    intent: Mapped[int] = mapped_column(BigInteger)
    outcome: Mapped[str] = mapped_column(Word)
    error: Mapped[str] = mapped_column(Word)
    detail: Mapped[str] = mapped_column(Word)
    previous_hash: Mapped[str] = mapped_column(Word)
    hash: Mapped[str] = mapped_column(Word)


class Names(Base):
    """Projection: the SHA-256 of each name in a record's lists, to find records by a name.

    `kind` is `rule`, `group` or `administrator`.
    """

    __tablename__ = "names"
    __table_args__ = (
        ForeignKeyConstraint(["chain", "sequence"], [Records.chain, Records.sequence]),
        Index(None, "kind", "digest", "chain", "sequence"),
        {"sqlite_with_rowid": False},
    )

    chain: Mapped[str] = mapped_column(Word, primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(Word, primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)


class Objects(Base):
    """Projection: the objects of ours that each cluster holds, with the record of each."""

    __tablename__ = "objects"
    __table_args__ = (
        ForeignKeyConstraint(["cluster", "sequence"], [Records.chain, Records.sequence]),
    )

    cluster: Mapped[str] = mapped_column(Word, primary_key=True)
    kind: Mapped[str] = mapped_column(Word, primary_key=True)
    name: Mapped[str] = mapped_column(Word, primary_key=True)
    digest: Mapped[str] = mapped_column(Word, ForeignKey(Bodies.sha256))
    sequence: Mapped[int] = mapped_column(BigInteger)


class OpenIntents(Base):
    """Projection: the intents that no record has closed yet."""

    __tablename__ = "open_intents"
    __table_args__ = (
        ForeignKeyConstraint(["chain", "sequence"], [Records.chain, Records.sequence]),
    )

    chain: Mapped[str] = mapped_column(Word, primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class Approvals(Base):
    """Projection: blocked plans; the records that blocked each, approved it and used that.

    `approved` and `used` are 0 until then; `document` is the plan as JSON, compressed.
    """

    __tablename__ = "approvals"
    __table_args__ = (
        ForeignKeyConstraint(["cluster", "blocked"], [Records.chain, Records.sequence]),
    )

    cluster: Mapped[str] = mapped_column(Word, primary_key=True)
    plan: Mapped[str] = mapped_column(Word, primary_key=True)
    blocked: Mapped[int] = mapped_column(BigInteger)
    approved: Mapped[int] = mapped_column(BigInteger)
    used: Mapped[int] = mapped_column(BigInteger)
    document: Mapped[bytes] = mapped_column(LargeBinary)


class Identities(Base):
    """Projection: the UID of each entry's cluster, and its record.

    `accepted` is the UID that an operator lets replace it, "" for none.
    """

    __tablename__ = "identities"
    __table_args__ = (
        ForeignKeyConstraint(["cluster", "sequence"], [Records.chain, Records.sequence]),
    )

    cluster: Mapped[str] = mapped_column(Word, primary_key=True)
    uid: Mapped[str] = mapped_column(Word)
    accepted: Mapped[str] = mapped_column(Word)
    sequence: Mapped[int] = mapped_column(BigInteger)


class Leases(Base):
    """The holder of each cluster's lease; `expires_at` is the database's, in ms since 1970."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(Word, primary_key=True)
    holder: Mapped[str] = mapped_column(Word)
    epoch: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger)


class StatusRow(Base):
    """The status of each cluster and source; overwritten, not part of the trail."""

    __tablename__ = "standings"

    kind: Mapped[str] = mapped_column(Word, primary_key=True)
    name: Mapped[str] = mapped_column(Word, primary_key=True)
    attempted: Mapped[str] = mapped_column(Word)
    succeeded: Mapped[str] = mapped_column(Word)
    state: Mapped[str] = mapped_column(Word)
    detail: Mapped[str] = mapped_column(Word)


class Memories(Base):
    """The last answers to each source, compressed; overwritten, not part of the trail."""

    __tablename__ = "memories"

    source: Mapped[str] = mapped_column(Word, primary_key=True)
    kind: Mapped[str] = mapped_column(Word, primary_key=True)
    name: Mapped[str] = mapped_column(Word, primary_key=True)
    time: Mapped[str] = mapped_column(Word)
    zlib: Mapped[bytes] = mapped_column(LargeBinary)
