"""The directory in PostgreSQL. SQL, SQLAlchemy, psycopg and Alembic are used in this package only."""
