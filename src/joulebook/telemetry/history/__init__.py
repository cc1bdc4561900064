"""From a range of time to points: resolutions, clocks, buckets, energy."""
