"""Contacts of the API: queries, search, number lookup, change feed, and writes of Custom contacts."""
