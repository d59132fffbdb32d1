"""A baseline: the contact list with FastAPI and the SQLAlchemy ORM, as a user would write it.

`python -m tests.benchmarks.fastapi_baseline PORT DATABASE_URL` serves it. It checks the token, filters, counts, sorts
and pages, and has the same members; nothing that clients need is omitted, and nothing is slow on purpose.
"""

import hashlib
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated
from uuid import UUID

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from sqlalchemy import Text, create_engine, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker


class Base(DeclarativeBase):
    pass


class Token(Base):
    __tablename__ = "token"
    name: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str]
    hash: Mapped[bytes]
    revoked_at: Mapped[datetime | None]


class Contact(Base):
    __tablename__ = "contact"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    type: Mapped[str]
    name: Mapped[str]
    numbers: Mapped[list[dict[str, str]]] = mapped_column(JSONB)
    user_name: Mapped[str | None]
    first_name: Mapped[str | None]
    last_name: Mapped[str | None]
    employee_id: Mapped[str | None]
    email_address: Mapped[str | None]
    channel: Mapped[str | None]
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text))
    business_units: Mapped[list[str]] = mapped_column(ARRAY(Text))
    name_folded: Mapped[str]
    served: Mapped[bool]


class PhoneNumber(BaseModel):
    phoneNumber: str  # noqa: N815 - as on the wire
    description: str | None = None


class ContactOut(BaseModel):
    id: str
    name: str
    type: str
    phoneNumber: str | None = None  # noqa: N815
    phoneNumbers: list[PhoneNumber] | None = None  # noqa: N815
    userName: str | None = None  # noqa: N815
    firstName: str | None = None  # noqa: N815
    lastName: str | None = None  # noqa: N815
    employeeId: str | None = None  # noqa: N815
    emailAddress: str | None = None  # noqa: N815
    roles: list[str] | None = None
    businessUnits: list[str] | None = None  # noqa: N815
    channel: str | None = None
    uri: str
    path: str


class Contacts(BaseModel):
    statusCode: int = 0  # noqa: N815
    totalCount: int  # noqa: N815
    contacts: list[ContactOut]


app = FastAPI()
sessions: sessionmaker[Session] = sessionmaker()


def database() -> Iterator[Session]:
    with sessions() as session:
        yield session


Database = Annotated[Session, Depends(database)]
Credentials = Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]


def caller(session: Database, credentials: Credentials) -> Token:
    digest = hashlib.sha256(credentials.credentials.encode()).digest()
    token = session.scalar(select(Token).where(Token.hash == digest, Token.revoked_at.is_(None)))
    if token is None:
        raise HTTPException(401)
    return token


def shown(contact: Contact, base: str) -> ContactOut:
    id_ = contact.id.hex
    return ContactOut(
        id=id_,
        name=contact.name,
        type=contact.type,
        phoneNumber=contact.numbers[0]["phoneNumber"] if contact.numbers else None,
        phoneNumbers=[PhoneNumber(**number) for number in contact.numbers] or None,
        userName=contact.user_name,
        firstName=contact.first_name,
        lastName=contact.last_name,
        employeeId=contact.employee_id,
        emailAddress=contact.email_address,
        roles=contact.roles,
        businessUnits=contact.business_units,
        channel=contact.channel,
        uri=f"{base}api/v2/contacts/{id_}",
        path=f"/contacts/{id_}",
    )


@app.get("/api/v2/contacts", response_model_exclude_none=True)
def contacts(  # noqa: PLR0917 - FastAPI reads the parameters of the call from the signature
    request: Request,
    session: Database,
    _: Annotated[Token, Depends(caller)],
    type_: Annotated[str | None, Query(alias="type")] = None,
    user_name: Annotated[str | None, Query(alias="userName")] = None,
    roles: str | None = None,
    units: Annotated[str | None, Query(alias="includeUsersInBusinessUnits")] = None,
    limit: int | None = None,
    offset: int = 0,
) -> Contacts:
    query = select(Contact).where(Contact.served)
    if type_ is not None:
        query = query.where(Contact.type == type_)
    if user_name is not None:
        query = query.where(Contact.user_name == user_name)
    if roles is not None:
        query = query.where(Contact.type == "User", Contact.roles.overlap(roles.split(",")))
    if units is not None:
        query = query.where(or_(Contact.type != "User", Contact.business_units.overlap(units.split(","))))
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    query = query.order_by(Contact.name_folded.collate("C"), Contact.id).limit(limit).offset(offset)
    base = str(request.base_url)
    return Contacts(totalCount=total, contacts=[shown(contact, base) for contact in session.scalars(query)])


def main() -> None:
    port, url = int(sys.argv[1]), sys.argv[2]
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"), pool_size=10)
    sessions.configure(bind=engine)
    uvicorn.run(app, port=port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
