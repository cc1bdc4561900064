"""Which stored table an answer is read from. The choice stands here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A table that buckets can be built from.

    `partials` is SQL that reads it into partial aggregates on a UTC grid of `%(step)s` seconds, with
    the columns series_id, bucket, count, sum, min, max; its parameters are step, series, start, end.
    """

    name: str
    partials: str


READINGS = Source(
    name="readings",
    partials="""
        SELECT series_id, time_bucket(make_interval(secs => %(step)s), time) AS bucket,
               count(*) AS count, sum(value) AS sum, min(value) AS min, max(value) AS max
        FROM readings
        WHERE series_id = ANY(%(series)s) AND time >= %(start)s AND time < %(end)s
        GROUP BY series_id, bucket
    """,
)


def choose_source(step: int) -> Source:  # noqa: ARG001 - the step is what will decide between tables
    """Return the coarsest stored table whose buckets fit a grid of `step` seconds."""
    return READINGS
