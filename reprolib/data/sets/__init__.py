"""How each data set is prepared: one module per set, with two functions of the same form.

`find(name, options, root=...)`: the prepared set below `root`, or None where it is not whole there; cheap, since every
run asks. `make(name, options, root=...)`: prepare it, fetching what is missing, and return it. Both raise DataError for
options they do not know. Who calls `make` holds the set's lock.
"""
