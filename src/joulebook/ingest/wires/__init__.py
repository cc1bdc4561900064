"""The wires over which readings arrive: each turns bytes into columns, and a result into its answer."""
