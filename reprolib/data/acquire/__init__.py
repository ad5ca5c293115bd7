"""Downloads, archives and conversions: from a published file to a prepared data set."""
