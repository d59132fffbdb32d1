"""The drill: every fault of a table, played on private servers against the real command line, and what came of it.

Nothing here knows how syncd works inside. It starts processes, speaks LDAP, SQL and HTTP with clients of its own, and
compares what is served with what was.
"""
