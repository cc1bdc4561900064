"""From a request's columns to committed rows."""
