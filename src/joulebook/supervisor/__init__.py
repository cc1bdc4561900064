"""`joulebook up`: all processes of one machine, as children of one supervisor.

`specs` describes a process, `children` starts and ends one, `supervisor` restarts them and stops them in
order, `console` prints their output. `plan` lists the processes of `joulebook up`, and `ingest` those of
`joulebook ingest`; `database` is one of them. `privileges` gives each process a system user.
"""
