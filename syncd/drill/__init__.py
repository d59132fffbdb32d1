"""The drill: injects every fault of a catalog on private servers and verifies the directory that syncd serves.

The package uses no internals of syncd. It starts the real command line, speaks LDAP, SQL and HTTP with its own clients,
and compares the served contacts before and after each fault.
"""
