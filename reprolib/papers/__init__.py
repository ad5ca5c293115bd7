"""One folder per publication: here, in the folders of `reprolib.papers.elsewhere`, each imported as
`reprolib.papers.<key>`."""

from reprolib.papers.elsewhere import folders_elsewhere

__path__ += [str(folder) for folder in folders_elsewhere()]
