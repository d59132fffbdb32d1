"""Contacts in files: CSV and vCard, written and read, and the plan of an import. Pure."""
