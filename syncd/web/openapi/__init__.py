"""The OpenAPI 3.1 document: built from the table of places and the constants by which requests are checked."""
