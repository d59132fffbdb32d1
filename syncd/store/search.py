"""Searching: which contacts a `q` or a wildcard finds, by the index of trigrams. Reads only.

What is searched is made by `core.contact.index`. Most searches find few contacts: all of them are ranked and sorted in
one statement. A `q` that finds more than anybody reads is answered tier by tier, in the order of the index of names.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, collate, func, not_, or_, select, text, true
from sqlalchemy.ext.asyncio import AsyncConnection

from syncd.core.query import Query
from syncd.core.search import ENOUGH, MOST_MATCHES, MOST_SPELLINGS, Sought, Tier
from syncd.store.filters import Condition, columns, conditions, like, order, selective, sort_keys, spelled

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
    await connection.execute(_BY_TRIGRAMS)
    filters = [columns.served, *conditions(query, regions)]
    if query.sought is None:
        return await _ranked(connection, and_(*filters), sort_keys(query), query, None)
    if not query.sought.words:
        return Found(0, ())
    return await _sought(connection, _Matching(query.sought, filters, regions), query)


async def _sought(connection: AsyncConnection, matching: "_Matching", query: Query) -> Found:
    keys = sort_keys(query) or [matching.tier, collate(columns.name_folded, "C")]
    found = await _ranked(connection, matching.strict, keys, query, MOST_MATCHES + 1)
    if found.total < ENOUGH:
        spellings = await _spellings(connection, matching.words, found.total)
        if not spellings:
            return found
        wider = await _ranked(connection, matching.like_any(spellings), keys, query, MOST_MATCHES + 1)
        # what is like so many names is no misspelling of anybody's
        return wider if wider.total <= MOST_MATCHES else found
    if found.total <= MOST_MATCHES:
        return found
    end = min(MOST_MATCHES, query.offset + (MOST_MATCHES if query.limit is None else query.limit))
    if query.sort:
        ids = await _first(connection, matching.strict, order(query), end)
    else:
        ids = await _by_tier(connection, matching, end)
    return Found(MOST_MATCHES, ids[query.offset :])


# The planner cannot know how many contacts hold a word that was typed just now. When it is wrong, a look at each of
# them costs a thousand times what the index does; so it has no choice.
_ALWAYS = """
SELECT set_config('plan_cache_mode', 'force_custom_plan', true),
       set_config('enable_seqscan', 'off', true),
"""
_BY_TRIGRAMS = text(f"{_ALWAYS} set_config('enable_indexscan', 'off', true)")
_BY_NAMES = text("SELECT set_config('enable_indexscan', 'on', true), set_config('enable_bitmapscan', 'off', true)")


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
        """Each word begins a word of the contact, or something that it is like is one."""
        each = [
            or_(_begins(word), *[columns.search.like(f"%\f{like(other)}\f%") for other in spellings.get(word, ())])
            for word in self.words
        ]
        return and_(*self._filters, *each)

    @property
    def tier(self) -> ColumnElement[Any]:
        """How good a match is."""
        found = [
            (self.exact, int(Tier.EXACT)),
            (self.prefix, int(Tier.PREFIX)),
            (and_(*[_begins(word) for word in self.words]), int(Tier.WORD)),
        ]
        return case(*found, else_=int(Tier.FUZZY))


def _begins(word: str) -> Condition:
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


# a word that begins no name is misspelled for certain; the most similar names are what it may have been
_SPELLINGS = text("""
SELECT asked.word, near.word AS spelling, begun.known
  FROM unnest(CAST(:words AS text[])) AS asked(word),
       LATERAL (SELECT EXISTS (SELECT FROM word WHERE word COLLATE "C" >= asked.word
                                  AND word COLLATE "C" < asked.word || chr(1114111)) AS known) AS begun,
       LATERAL (SELECT word, max(similarity(word, asked.word)) OVER () AS best, similarity(word, asked.word) AS own
                  FROM (SELECT DISTINCT word FROM word WHERE word % asked.word) AS similar_words
                 ORDER BY own DESC, word LIMIT :most) AS near
 WHERE near.own >= 0.8 * near.best AND near.word <> asked.word
""")


async def _spellings(connection: AsyncConnection, words: Sequence[str], matches: int) -> dict[str, list[str]]:
    """For each word that may be misspelled, what it may be meant for.

    Of several words these are the ones that begin nobody's name. When all of them do, it may be any, unless
    somebody matches.
    """
    if matches and len(words) > 1:
        return {}
    asked = {"words": [word for word in words if not word.isdigit()], "most": MOST_SPELLINGS}
    rows = (await connection.execute(_SPELLINGS, asked)).all()
    unknown = [row for row in rows if not row.known]
    found: dict[str, list[str]] = {}
    for row in unknown or rows:
        found.setdefault(row.word, []).append(row.spelling)
    return found
