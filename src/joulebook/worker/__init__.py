"""Work that is not a request's: keeping stored readings in shape."""
