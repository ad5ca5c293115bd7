"""The report that people open: static pages made from a profile's records, tables, notebooks and figures."""
