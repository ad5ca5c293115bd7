"""What is known of a data set before a byte of it is on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class File:
    """A published file; empty text and 0 where nothing is published.

    url, mirrors: where it can be fetched, in order of trust. drive: its Google Drive id, tried after those.
    bytes, md5, sha256: published, and held to. about_bytes: second-hand or rounded, only to see whether the disk has
    room. contents_checked: the conversion checks what is in it file by file, so a copy that the user gives may be
    another archive of the same files. only_with: an option of the preparation and those of its values with which alone
    the file is needed, "" where the option is not given; empty: always.
    """

    name: str
    url: str = ""
    mirrors: tuple[str, ...] = ()
    drive: str = ""
    bytes: int = 0
    about_bytes: int = 0
    md5: str = ""
    sha256: str = ""
    contents_checked: bool = False
    only_with: tuple[str, ...] = ()

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(url for url in (self.url, *self.mirrors) if url)

    @property
    def verification(self) -> str:
        """How the file is known to be the published one, in a few words."""
        if self.sha256 or self.md5:
            return "sha256" if self.sha256 else "md5"
        if self.contents_checked:
            return "its contents, file by file"
        return "unverified: no checksum is published; the sha256 seen first is noted and compared from then on"


@dataclass(frozen=True, kw_only=True)
class Card:
    """A data set's card. `splits` maps a split to its published counts, e.g. {"images": 5000, "instances":
    36781}; `how_to` says what to fetch and where to put it. unpacked_bytes: about what is written beside the files.
    `protocol` names the rules by which its detections are scored, see `reprolib.evaluation.protocols`. unverified: what
    is said of the set and was not checked at its source.

    shares_files_of: the data set whose files these are, which is prepared with it. needs: data sets whose files it
    reads besides its own. prepared_images: images by split, where the preparation makes others than the publication
    counts. scene_bytes_per_pixel: of an image that this package makes on demand; 0: images are published.
    """

    name: str
    title: str
    licence: str
    terms: str
    size: str
    citation: str
    home: str = ""
    files: tuple[File, ...] = ()
    unpacked_bytes: int = 0
    splits: Mapping[str, Mapping[str, int]] = field(default_factory=lambda: MappingProxyType({}))
    classes: tuple[str, ...] = ()
    class_count: int = 0  # where the names are only in the data set's own files
    how_to: str = ""
    protocol: str = "coco"
    notes: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()
    shares_files_of: str = ""
    needs: tuple[str, ...] = ()
    prepared_images: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    scene_bytes_per_pixel: float = 0.0

    @property
    def generated(self) -> bool:
        """Whether this package makes its images on demand."""
        return self.scene_bytes_per_pixel > 0

    @property
    def of_the_user(self) -> bool:
        """Whether it is a folder that the user has, not a published set."""
        return not (self.files or self.generated)

    @property
    def files_owner(self) -> str:
        """The data set under whose name the files are kept."""
        return self.shares_files_of or self.name

    def files_for(self, options: Mapping[str, object]) -> tuple[File, ...]:
        """The files that the preparation needs with these options."""
        return tuple(
            file
            for file in self.files
            if not file.only_with or str(options.get(file.only_with[0]) or "") in file.only_with[1:]
        )

    @property
    def fetchable(self) -> bool:
        """Whether every file can be had without an account."""
        return all(file.urls or file.drive for file in self.files)

    @property
    def obtained(self) -> str:
        """How its files come to this machine, in a few words."""
        if self.generated:
            return "generated"
        if self.of_the_user:
            return "a folder of yours"
        if not self.fetchable:
            return "account, by hand"
        return "download" if all(file.urls for file in self.files) else "Google Drive"
