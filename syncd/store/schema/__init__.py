"""Database schema: tables, version, migrations and the schema part of `syncd check`."""
