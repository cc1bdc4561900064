"""`joulebook up`: everything that one machine needs, as child processes that live and end with it.

`specs` says what a process is, `children` starts and ends one, `keeper` keeps one alive, `supervisor`
keeps them all and stops them in order, `console` shows what they say. `plan` is the list of Joulebook's
own processes; `database` and `migrate` are two of them.
"""
