"""Errors in handing over a packet; later errors are in the client's status."""

from __future__ import annotations


class ClientError(Exception):
    """The root of this package's errors. Where one is raised, the packet was not taken."""


class UnusablePacket(ClientError, ValueError):
    """This packet can never be sent: it is no JSON object, too large, or has a time without offset."""


class BufferFull(ClientError):
    """The buffer holds as much as it may; hand the packet over again later, or give it up."""


class BufferUnusable(ClientError):
    """The buffer cannot be opened or written: in use by another process, damaged, or the disk is full."""


class ClientClosed(ClientError):
    """The client was closed before."""
