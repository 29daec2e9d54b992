"""The blocks of the report: each file holds one, a function from a Context to a Section."""
