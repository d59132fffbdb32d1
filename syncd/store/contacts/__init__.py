"""Contacts as the API reads and writes them: queries, search, change feed, Custom contacts."""
