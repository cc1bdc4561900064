"""The server of both services: connections, their deadlines and shares, the address of a client, metrics."""
