"""Are the reported numbers consistent with themselves? Every printed table checked by code, without any run."""
