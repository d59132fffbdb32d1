"""Contacts, queries on them, normalization of text and phone numbers, and JSON forms."""
