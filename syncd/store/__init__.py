"""The store: the directory in PostgreSQL. The only home of SQL, SQLAlchemy, psycopg and Alembic."""
