"""What a person can do where Joulebook finds no TimescaleDB and cannot fetch one."""

_REMEDIES = """\
Do one of these:

1. Install PostgreSQL 15 or later with TimescaleDB and start Joulebook again; it finds them in the usual
   places, or in the folder that JOULEBOOK_POSTGRES_BIN names.
   Debian 13, Ubuntu 25.04 and later:  apt-get install postgresql-17 postgresql-17-timescaledb

2. Use a TimescaleDB server of your own and name it in the environment, one address for each role:
     JOULEBOOK_TELEMETRY_URL=postgresql://joulebook_reader:…@host:5432/joulebook
     JOULEBOOK_TELEMETRY_WRITER_URL=postgresql://joulebook_writer:…@host:5432/joulebook
     JOULEBOOK_TELEMETRY_OWNER_URL=postgresql://joulebook_owner:…@host:5432/joulebook
   With Docker Compose such a server is:

     services:
       timescaledb:
         image: timescale/timescaledb:latest-pg17
         environment: {POSTGRES_PASSWORD: "${POSTGRES_PASSWORD:?choose one}"}
         ports: ["127.0.0.1:5432:5432"]
         volumes: ["timescaledb:/var/lib/postgresql/data"]
     volumes: {timescaledb: {}}

   and once, as its user postgres:
     CREATE ROLE joulebook_owner LOGIN CREATEROLE PASSWORD '…';
     CREATE ROLE joulebook_writer LOGIN PASSWORD '…';
     CREATE ROLE joulebook_reader LOGIN PASSWORD '…';
     GRANT joulebook_writer, joulebook_reader TO joulebook_owner WITH ADMIN OPTION;
     CREATE DATABASE joulebook OWNER joulebook_owner;
     \\c joulebook
     CREATE EXTENSION IF NOT EXISTS timescaledb;"""


def remedies() -> str:
    """Return the ways out, as text of several lines for the end of an error message."""
    return _REMEDIES
