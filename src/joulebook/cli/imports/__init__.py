"""The commands of imports: `joulebook import`, `import --watch` and `imports`."""
