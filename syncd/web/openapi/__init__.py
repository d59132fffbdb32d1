"""The OpenAPI 3.1 document, built from the route table and the constants by which requests are validated."""
