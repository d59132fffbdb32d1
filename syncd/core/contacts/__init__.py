"""Contacts and queries on them: values, comparison of text and numbers, wire formats. Pure."""
