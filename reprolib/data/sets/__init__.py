"""The data sets, a folder each. A new data set is a new folder here; nothing else names it.

`card.py` has `CARDS`, the cards of all names under which the folder's files can be read (two splits of SSDD, for
example). It imports no torch: listing data sets must be quick.

`prepare.py` has two functions of the same form, which get the name and the options of params.yaml:
- `find(name, options, root=...)`: the prepared set below `root`, or None where it is not whole there. It is cheap and
  writes nothing, since every run calls it. Its docstring says the options.
- `make(name, options, root=...)`: prepare it, fetching what is missing, and return it. The caller holds the set's lock.
Both raise DataError for options that they do not know.

`convert.py` reads the published files and writes COCO format; `splits/*.txt` are lists of the suite's own splits.
"""
