"""Search for `q` and wildcard patterns by the trigram index.

The searched text is made by `core.contacts.contact.build_index`; misspelled words are compared with an index of whole
words. Most searches have few matches: all of them are ranked and sorted in one statement. A `q` with more than
MAX_MATCHES matches is answered rank by rank, in the order of the name index.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, collate, func, not_, or_, select, text, true
from sqlalchemy.ext.asyncio import AsyncConnection

from syncd.core.contacts.query import Query
from syncd.core.contacts.search import FUZZY_BELOW, MAX_MATCHES, MAX_SPELLINGS, MatchRank, SearchTerms
from syncd.store.contacts.filters import (
    Condition,
    build_conditions,
    build_order,
    build_sort_keys,
    columns,
    escape_like,
    has_any_number,
    is_selective,
    overlaps,
)

_SELECTIVE_DIGITS = 6
"""Number of last digits that few numbers share."""
NAME_ORDER = (collate(columns.name_folded, "C"), columns.id)
"""Order within a rank; an index has this order."""


class SearchPage(NamedTuple):
    """Result of a search."""

    total: int
    """Number of matches, at most MAX_MATCHES for a `q`."""
    ids: Sequence[UUID]
    """Contact ids of the requested page, in its order."""


def is_indexed(query: Query) -> bool:
    """Return whether a page of the query can be answered by the trigram index."""
    if query.search is not None:
        return True
    return query.limit is not None and query.limit <= MAX_MATCHES and any(map(is_selective, query.patterns))


async def find(connection: AsyncConnection, query: Query, regions: Collection[str]) -> SearchPage:
    """Return a page of the matches of an `is_indexed` query, within the transaction of this connection.

    Ordered by the sort keys of the query; without any, by match rank and name.
    """
    filters = [columns.served, *build_conditions(query, regions)]
    if query.search is None:
        await _prefer_trigrams(connection, ())
        return await _select_sorted(connection, and_(*filters), build_sort_keys(query), query, None)
    if not query.search.words:
        return SearchPage(0, ())
    return await _search_words(connection, _SearchConditions(query.search, filters, regions), query)


async def _search_words(connection: AsyncConnection, conditions: "_SearchConditions", query: Query) -> SearchPage:
    """Search for a `q`; words that begin no name are also searched under similar spellings.

    If all words begin a name but too few contacts match, every word is searched under similar spellings.
    """
    unknown = await _prefer_trigrams(connection, conditions.words)
    if unknown and (similar := await _search_similar(connection, conditions, unknown, query)):
        return similar
    result = await _select_sorted(connection, conditions.strict, conditions.sort_keys(query), query, MAX_MATCHES + 1)
    if not unknown and result.total < (FUZZY_BELOW if len(conditions.words) == 1 else 1):
        return await _search_similar(connection, conditions, conditions.words, query) or result
    if result.total <= MAX_MATCHES:
        return result
    end = min(MAX_MATCHES, query.offset + (MAX_MATCHES if query.limit is None else query.limit))
    if query.sort:
        ids = await _select_first(connection, conditions.strict, build_order(query), end)
    else:
        ids = await _select_by_rank(connection, conditions, end)
    return SearchPage(MAX_MATCHES, ids[query.offset :])


async def _search_similar(
    connection: AsyncConnection, conditions: "_SearchConditions", words: Sequence[str], query: Query
) -> SearchPage | None:
    """Search with similar spellings of these words; return None without such spellings or with too many matches."""
    spellings = await _load_spellings(connection, words)
    if not spellings:
        return None
    result = await _select_sorted(
        connection, conditions.similar(spellings), conditions.sort_keys(query), query, MAX_MATCHES + 1
    )
    # a word that is similar to so many names is no misspelling
    return result if result.total <= MAX_MATCHES else None


# The planner cannot estimate how many contacts match a word. With a wrong estimate it examines every contact, which
# costs a thousand times as much as the trigram index; so the other scans are disabled.
_SCAN_TRIGRAMS = text("""
SELECT set_config('plan_cache_mode', 'force_custom_plan', true),
       set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'off', true),
       ARRAY(SELECT asked FROM unnest(CAST(:words AS text[])) AS asked
              WHERE NOT EXISTS (SELECT FROM word WHERE word COLLATE "C" >= asked
                                   AND word COLLATE "C" < asked || chr(1114111))) AS unknown
""")
_SCAN_NAMES = text("SELECT set_config('enable_indexscan', 'on', true), set_config('enable_bitmapscan', 'off', true)")


async def _prefer_trigrams(connection: AsyncConnection, words: Sequence[str]) -> list[str]:
    """Force trigram scans for the transaction, and return those of the words (without numbers) that begin no name."""
    parameters = {"words": [word for word in words if not word.isdigit()]}
    unknown: list[str] = (await connection.execute(_SCAN_TRIGRAMS, parameters)).one().unknown
    return unknown


class _SearchConditions:
    """SQL conditions of one search."""

    def __init__(self, terms: SearchTerms, filters: Sequence[Condition], regions: Collection[str]) -> None:
        self._filters, self.words = filters, terms.words
        self.strict = and_(*filters, *[_has_prefix(word) for word in terms.words])
        name = collate(columns.name_folded, "C")
        number = [has_any_number([terms.text], regions)] if any(char.isdigit() for char in terms.text) else []
        self.exact = or_(name == terms.text, columns.search.like(f"%\v{escape_like(terms.text)}\v%"), *number)
        # the same by fast indexes only; a user name in capitals has to be typed in capitals
        address = [columns.search.like(f"%\v{escape_like(terms.text)}\v%")] if "@" in terms.text else []
        self.exact_by_index = or_(
            name == terms.text, columns.user_name.in_([terms.typed, terms.text]), *address, *number
        )
        self.prefix = name.like(f"{escape_like(terms.text)}%")

    def similar(self, spellings: Mapping[str, Sequence[str]]) -> Condition:
        """Return the condition that each word begins a word of the contact, or one of its spellings is in its names."""
        names = func.words_of(columns.search)
        each = [_has_prefix(word) for word in self.words if word not in spellings]
        each += [or_(_has_prefix(word), overlaps(names, others)) for word, others in spellings.items()]
        return and_(*self._filters, *each)

    def sort_keys(self, query: Query) -> Sequence[ColumnElement[Any]]:
        """Return the sort keys of the query; without any, match rank and name."""
        return build_sort_keys(query) or [self._rank(), collate(columns.name_folded, "C")]

    def _rank(self) -> ColumnElement[Any]:
        ranks = [
            (self.exact, int(MatchRank.EXACT)),
            (self.prefix, int(MatchRank.PREFIX)),
            (and_(*[_has_prefix(word) for word in self.words]), int(MatchRank.WORD)),
        ]
        return case(*ranks, else_=int(MatchRank.FUZZY))


def _has_prefix(word: str) -> Condition:
    if word.isdigit() and len(word) > _SELECTIVE_DIGITS:
        # the first trigrams of a long number are in most numbers, and the index takes longest for frequent trigrams
        return columns.search.like(f"%{word[-_SELECTIVE_DIGITS:]}%") & (func.strpos(columns.search, f"\f{word}") > 0)
    return columns.search.like(f"%\f{escape_like(word)}%")


async def _select_sorted(
    connection: AsyncConnection,
    condition: Condition,
    keys: Sequence[ColumnElement[Any]],
    query: Query,
    max_matches: int | None,
) -> SearchPage:
    """Return the page of the matches in the order of `keys`, valid only if `total` is below `max_matches`."""
    sort_columns = [key.label(f"key_{number}") for number, key in enumerate(keys)]
    hit = select(columns.id, *sort_columns).where(condition).limit(max_matches).cte("hit")
    descending = bool(query.sort) and query.descending
    order = [hit.c[key.name].desc() if descending else hit.c[key.name].asc() for key in sort_columns]
    page = select(hit.c.id).order_by(*order, hit.c.id).limit(query.limit).offset(query.offset).subquery()
    total = select(func.count().label("total")).select_from(hit).subquery()
    rows = (await connection.execute(select(total.c.total, page.c.id).outerjoin_from(total, page, true()))).all()
    return SearchPage(rows[0].total, [row.id for row in rows if row.id is not None])


async def _select_by_rank(connection: AsyncConnection, conditions: _SearchConditions, end: int) -> list[UUID]:
    """Return the ids of the first `end` matches by rank, for more matches than can be sorted."""
    exact, prefix, strict = conditions.exact_by_index, conditions.prefix, conditions.strict
    ids = await _select_first(connection, and_(strict, exact), NAME_ORDER, end)
    await connection.execute(_SCAN_NAMES)
    for condition in (and_(strict, prefix), and_(strict, not_(prefix))):
        if len(ids) < end:
            others = columns.id.not_in(ids) if ids else true()
            ids += await _select_first(connection, and_(condition, others), NAME_ORDER, end - len(ids))
    return ids


async def _select_first(
    connection: AsyncConnection, condition: Condition, order: Sequence[ColumnElement[Any]], limit: int
) -> list[UUID]:
    statement = select(columns.id).where(condition).order_by(*order).limit(limit)
    return list(await connection.scalars(statement))


# candidates for a misspelled word are the most similar words of names
_SELECT_SPELLINGS = text("""
SELECT asked.word, near.word AS spelling
  FROM unnest(CAST(:words AS text[])) AS asked(word),
       LATERAL (SELECT word, max(similarity(word, asked.word)) OVER () AS best, similarity(word, asked.word) AS own
                  FROM (SELECT DISTINCT word FROM word WHERE word % asked.word) AS similar_words
                 ORDER BY own DESC, word LIMIT :most) AS near
 WHERE near.own >= 0.8 * near.best AND near.word <> asked.word
""")


async def _load_spellings(connection: AsyncConnection, words: Sequence[str]) -> dict[str, list[str]]:
    """Return the similar words of names for each of these words (without numbers) that has any."""
    parameters = {"words": [word for word in words if not word.isdigit()], "most": MAX_SPELLINGS}
    spellings: dict[str, list[str]] = {}
    for row in await connection.execute(_SELECT_SPELLINGS, parameters):
        spellings.setdefault(row.word, []).append(row.spelling)
    return spellings
