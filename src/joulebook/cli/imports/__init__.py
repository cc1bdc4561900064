"""The commands of imports: `joulebook import`, for a file or a watched folder, and `joulebook imports`."""
