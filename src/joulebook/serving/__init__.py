"""How both services serve connections: deadlines, shares, the address of a client, the server itself."""
