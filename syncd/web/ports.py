"""The protocols of the collaborators that the web package needs; the composition root passes implementations."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from syncd.core.contacts.contact import Contact
from syncd.core.contacts.feed import ChangeBatch, Position
from syncd.core.contacts.lookup import Owners
from syncd.core.contacts.models import AuthResult, ContactPage, DirectoryVersion, StoredContact
from syncd.core.contacts.query import Query
from syncd.core.files.contact_import import ImportReport
from syncd.core.operations.health import SourceAge
from syncd.core.sync.history import HeldItem, PastChange, PastRun, PendingRemoval, RejectedRecord, Slice


class Authenticator(Protocol):
    """Checks credentials. `address` is the client's IP address, or `unix`."""

    async def authenticate_token(self, token: str, address: str, access: int) -> AuthResult:
        """Return the token's caller. `access` counts the changes of tokens. Raises NotAuthenticated or StoreError."""

    async def authenticate_password(self, name: str, password: str, address: str) -> AuthResult:
        """Return the caller with this name and password. Raises NotAuthenticated or AuthenticationUnavailable."""


class RevisionTracker(Protocol):
    """The directory's current version, and waiting for a newer revision."""

    async def current(self) -> DirectoryVersion:
        """Return the version, read after the call. Raises StoreUnavailable."""

    async def wait_newer_than(self, revision: int, seconds: float) -> int:
        """Return the newest known revision, as soon as it is newer than `revision` or after `seconds`."""


class Directory(Protocol):
    """Reads contacts. Both methods raise StoreUnavailable or StoreBusy."""

    async def find_contact(self, id_: str) -> StoredContact | None:
        """Return the served contact with this id, or None."""

    def open_page(self, query: Query) -> AbstractAsyncContextManager[ContactPage]:
        """Open one snapshot of the matching contacts, in order and within limit and offset, read in batches."""


class NumberLookup(Protocol):
    """Looks up contacts by phone number."""

    async def find_owners(self, numbers: Sequence[str]) -> Owners:
        """Return the contacts of each number, best match first. Raises StoreUnavailable or StoreBusy."""


class ChangeReader(Protocol):
    """Reads the change feed."""

    async def read_after(self, position: Position) -> ChangeBatch:
        """Return the batch of changes after a position, read in one snapshot. Raises Gone or StoreError."""


class CustomContacts(Protocol):
    """Writes Custom contacts. `caller` is the caller's name; every method raises StoreUnavailable."""

    async def create(self, contact: Contact, caller: str) -> str:
        """Store a new contact and return its id."""

    async def change(self, id_: str, edit: Callable[[StoredContact], Contact], caller: str) -> None:
        """Replace a contact by the result of `edit`. Raises NotFound, ReadOnly and the errors of `edit`."""

    async def delete(self, id_: str, check: Callable[[StoredContact], None], caller: str) -> None:
        """Delete a contact unless `check` raises. Raises NotFound, ReadOnly and the errors of `check`."""


class Importer(Protocol):
    """Imports Custom contacts from a CSV or vCard file."""

    async def preview_import(self, raw: bytes, media: str) -> ImportReport:
        """Plan the import of a file. Raises InvalidParameter, TooLarge or StoreUnavailable."""

    async def apply_import(self, raw: bytes, media: str, caller: str) -> ImportReport:
        """Import the valid entries of a file in one transaction. Raises as `preview_import` does."""


class HealthMonitor(Protocol):
    """The daemon's health."""

    async def health(self, *, detailed: bool) -> dict[str, Any]:
        """Return the body of /health; with `detailed`, reasons that name addresses and accounts."""

    async def ready(self) -> bool:
        """Whether requests can be served."""

    def ages(self) -> Sequence[SourceAge]:
        """Return the age of each source's data."""


class Overview(Protocol):
    """Reads the history and the status of sources. A `source` of None means all sources.

    Every method raises StoreUnavailable.
    """

    @property
    def sources(self) -> Sequence[str]:
        """The names of the configured sources."""

    async def load_status(self) -> dict[str, Any]:
        """Return the health with the last runs and their evidence."""

    async def list_runs(self, source: str | None, limit: int, offset: int) -> Slice[PastRun]:
        """Return runs, newest first."""

    async def load_run(self, number: int) -> PastRun | None:
        """Return the run with this id, or None."""

    async def list_changes(self, run: int, limit: int, offset: int) -> Slice[PastChange]:
        """Return the changes that a run made."""

    async def list_held_items(self, source: str | None, limit: int, offset: int) -> Slice[HeldItem]:
        """Return the removals and attributes that the guard holds."""

    async def list_rejects(self, source: str | None, limit: int, offset: int) -> Slice[RejectedRecord]:
        """Return the rejected records."""

    async def list_pending_removals(self, source: str | None, limit: int, offset: int) -> Slice[PendingRemoval]:
        """Return the missing contacts with the earliest time of their removal."""


class Explainer(Protocol):
    """Explains contacts by reading the store and the sources themselves."""

    async def explain(self, text: str) -> dict[str, Any]:
        """Return the JSON form of the explanation of a contact. Raises StoreUnavailable."""
