#!/bin/sh
# Create Joulebook's roles and database. The TimescaleDB image runs this script once, when it creates its data folder.
set -eu

# psql reads the passwords from its environment: every user of the machine could read them on a command line.
psql --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\getenv owner_password OWNER_PASSWORD
\getenv writer_password WRITER_PASSWORD
\getenv reader_password READER_PASSWORD
CREATE ROLE joulebook_owner LOGIN CREATEROLE PASSWORD :'owner_password';
CREATE ROLE joulebook_writer LOGIN PASSWORD :'writer_password';
CREATE ROLE joulebook_reader LOGIN PASSWORD :'reader_password';
GRANT joulebook_writer, joulebook_reader TO joulebook_owner WITH ADMIN OPTION;
CREATE DATABASE joulebook OWNER joulebook_owner;
\connect joulebook
CREATE EXTENSION IF NOT EXISTS timescaledb;
SQL
