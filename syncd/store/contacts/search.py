"""Searching: which contacts a `q` or a wildcard finds, by the index of trigrams. Reads only.

What is searched is made by `contact.index`; what a misspelled word may stand for has an index of whole words. Most
searches find few contacts: all of them are ranked and sorted in one statement. A `q` that finds more than anybody reads
is answered tier by tier, in the order of the index of names.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, collate, func, not_, or_, select, text, true
from sqlalchemy.ext.asyncio import AsyncConnection

from syncd.core.contacts.query import Query
from syncd.core.contacts.search import ENOUGH, MOST_MATCHES, MOST_SPELLINGS, Sought, Tier
from syncd.store.contacts.filters import (
    Condition,
    columns,
    conditions,
    like,
    order,
    overlaps,
    selective,
    sort_keys,
    spelled,
)

_TELLING = 6
"""Digits at the end of a number that few others have."""
BY_NAME = (collate(columns.name_folded, "C"), columns.id)
"""What decides within a tier; an index has this order."""


class Found(NamedTuple):
    """What a search found."""

    total: int
    ids: Sequence[UUID]
    """Those of the page that was asked for, in its order."""


def is_indexed(query: Query) -> bool:
    """Whether the index of trigrams answers the query, a page of it at a time."""
    if query.sought is not None:
        return True
    return query.limit is not None and query.limit <= MOST_MATCHES and any(map(selective, query.wanted))


async def find(connection: AsyncConnection, query: Query, regions: Collection[str]) -> Found:
    """The contacts that match a query that `is_indexed`, within the transaction of this connection."""
    filters = [columns.served, *conditions(query, regions)]
    if query.sought is None:
        await _by_trigrams(connection, ())
        return await _ranked(connection, and_(*filters), sort_keys(query), query, None)
    if not query.sought.words:
        return Found(0, ())
    return await _sought(connection, _Matching(query.sought, filters, regions), query)


async def _sought(connection: AsyncConnection, matching: "_Matching", query: Query) -> Found:
    """What a `q` finds. A word that begins nobody's name is looked for under other spellings as well.

    When all of them do, it may still be any of them, unless several words have somebody who matches.
    """
    unknown = await _by_trigrams(connection, matching.words)
    if unknown and (wider := await _like(connection, matching, unknown, query)):
        return wider
    found = await _ranked(connection, matching.strict, matching.keys(query), query, MOST_MATCHES + 1)
    if not unknown and found.total < (ENOUGH if len(matching.words) == 1 else 1):
        return await _like(connection, matching, matching.words, query) or found
    if found.total <= MOST_MATCHES:
        return found
    end = min(MOST_MATCHES, query.offset + (MOST_MATCHES if query.limit is None else query.limit))
    if query.sort:
        ids = await _first(connection, matching.strict, order(query), end)
    else:
        ids = await _by_tier(connection, matching, end)
    return Found(MOST_MATCHES, ids[query.offset :])


async def _like(connection: AsyncConnection, matching: "_Matching", words: Sequence[str], query: Query) -> Found | None:
    """Who matches, or would if these words were spelled otherwise; None if they cannot be, or for too many."""
    spellings = await _spellings(connection, words)
    if not spellings:
        return None
    found = await _ranked(connection, matching.like_any(spellings), matching.keys(query), query, MOST_MATCHES + 1)
    # what is like so many names is no misspelling of anybody's
    return found if found.total <= MOST_MATCHES else None


# The planner cannot know how many contacts hold a word that was typed just now. When it is wrong, a look at each of
# them costs a thousand times what the index does; so it has no choice.
_BY_TRIGRAMS = text("""
SELECT set_config('plan_cache_mode', 'force_custom_plan', true),
       set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'off', true),
       ARRAY(SELECT asked FROM unnest(CAST(:words AS text[])) AS asked
              WHERE NOT EXISTS (SELECT FROM word WHERE word COLLATE "C" >= asked
                                   AND word COLLATE "C" < asked || chr(1114111))) AS unknown
""")
_BY_NAMES = text("SELECT set_config('enable_indexscan', 'on', true), set_config('enable_bitmapscan', 'off', true)")


async def _by_trigrams(connection: AsyncConnection, words: Sequence[str]) -> list[str]:
    """Have the transaction search by trigrams. Returns which of the words begin nobody's name; a number never does."""
    asked = {"words": [word for word in words if not word.isdigit()]}
    unknown: list[str] = (await connection.execute(_BY_TRIGRAMS, asked)).one().unknown
    return unknown


class _Matching:
    """The conditions of one search."""

    def __init__(self, sought: Sought, filters: Sequence[Condition], regions: Collection[str]) -> None:
        self._filters, self.words = filters, sought.words
        self.strict = and_(*filters, *[_begins(word) for word in sought.words])
        name = collate(columns.name_folded, "C")
        number = [spelled([sought.text], regions)] if any(char.isdigit() for char in sought.text) else []
        self.exact = or_(name == sought.text, columns.search.like(f"%\v{like(sought.text)}\v%"), *number)
        # the same by indexes that tell quickly; a user name in capitals has to be typed in capitals
        address = [columns.search.like(f"%\v{like(sought.text)}\v%")] if "@" in sought.text else []
        self.exact_by_index = or_(
            name == sought.text, columns.user_name.in_([sought.typed, sought.text]), *address, *number
        )
        self.prefix = name.like(f"{like(sought.text)}%")

    def like_any(self, spellings: Mapping[str, Sequence[str]]) -> Condition:
        """Each word begins a word of the contact, or a word of its names is what that is like."""
        names = func.words_of(columns.search)
        each = [_begins(word) for word in self.words if word not in spellings]
        each += [or_(_begins(word), overlaps(names, others)) for word, others in spellings.items()]
        return and_(*self._filters, *each)

    def keys(self, query: Query) -> Sequence[ColumnElement[Any]]:
        """What is sorted by: what the query says, else how good a match is, then the name."""
        return sort_keys(query) or [self._tier(), collate(columns.name_folded, "C")]

    def _tier(self) -> ColumnElement[Any]:
        found = [
            (self.exact, int(Tier.EXACT)),
            (self.prefix, int(Tier.PREFIX)),
            (and_(*[_begins(word) for word in self.words]), int(Tier.WORD)),
        ]
        return case(*found, else_=int(Tier.FUZZY))


def _begins(word: str) -> Condition:
    if word.isdigit() and len(word) > _TELLING:
        # every number has the trigrams at the begin of a long one, and to go through them takes the index longest
        return columns.search.like(f"%{word[-_TELLING:]}%") & (func.strpos(columns.search, f"\f{word}") > 0)
    return columns.search.like(f"%\f{like(word)}%")


async def _ranked(
    connection: AsyncConnection,
    condition: Condition,
    keys: Sequence[ColumnElement[Any]],
    query: Query,
    most: int | None,
) -> Found:
    """How many match, up to `most`, and the page of them by these keys; that only if all of them are counted."""
    named = [key.label(f"key_{number}") for number, key in enumerate(keys)]
    hit = select(columns.id, *named).where(condition).limit(most).cte("hit")
    descending = bool(query.sort) and query.descending
    by = [hit.c[key.name].desc() if descending else hit.c[key.name].asc() for key in named]
    page = select(hit.c.id).order_by(*by, hit.c.id).limit(query.limit).offset(query.offset).subquery()
    total = select(func.count().label("total")).select_from(hit).subquery()
    rows = (await connection.execute(select(total.c.total, page.c.id).outerjoin_from(total, page, true()))).all()
    return Found(rows[0].total, [row.id for row in rows if row.id is not None])


async def _by_tier(connection: AsyncConnection, matching: _Matching, end: int) -> list[UUID]:
    """The first so many of more matches than can be ranked."""
    exact, prefix, strict = matching.exact_by_index, matching.prefix, matching.strict
    found = await _first(connection, and_(strict, exact), BY_NAME, end)
    await connection.execute(_BY_NAMES)
    for condition in (and_(strict, prefix), and_(strict, not_(prefix))):
        if len(found) < end:
            known = columns.id.not_in(found) if found else true()
            found += await _first(connection, and_(condition, known), BY_NAME, end - len(found))
    return found


async def _first(
    connection: AsyncConnection, condition: Condition, by: Sequence[ColumnElement[Any]], number: int
) -> list[UUID]:
    statement = select(columns.id).where(condition).order_by(*by).limit(number)
    return list(await connection.scalars(statement))


# the most similar names are what a misspelled word may have been
_SPELLINGS = text("""
SELECT asked.word, near.word AS spelling
  FROM unnest(CAST(:words AS text[])) AS asked(word),
       LATERAL (SELECT word, max(similarity(word, asked.word)) OVER () AS best, similarity(word, asked.word) AS own
                  FROM (SELECT DISTINCT word FROM word WHERE word % asked.word) AS similar_words
                 ORDER BY own DESC, word LIMIT :most) AS near
 WHERE near.own >= 0.8 * near.best AND near.word <> asked.word
""")


async def _spellings(connection: AsyncConnection, words: Sequence[str]) -> dict[str, list[str]]:
    """For each of these words that may be misspelled, what it may be meant for."""
    asked = {"words": [word for word in words if not word.isdigit()], "most": MOST_SPELLINGS}
    found: dict[str, list[str]] = {}
    for row in await connection.execute(_SPELLINGS, asked):
        found.setdefault(row.word, []).append(row.spelling)
    return found
