"""Make or find a data set on disk by its name in params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType

from reprolib.data.acquire.prepared import Prepared, Split
from reprolib.data.errors import DataError
from reprolib.data.sets.bbbc038 import prepare as bbbc038
from reprolib.data.sets.cityscapes import prepare as cityscapes
from reprolib.data.sets.coco import prepare as coco
from reprolib.data.sets.coco_folder import prepare as coco_folder
from reprolib.data.sets.common import lock
from reprolib.data.sets.custom import prepare as custom
from reprolib.data.sets.generated import prepare as generated
from reprolib.data.sets.hrsid import prepare as hrsid
from reprolib.data.sets.isaid import prepare as isaid
from reprolib.data.sets.lvis import prepare as lvis
from reprolib.data.sets.nwpu_vhr10 import prepare as nwpu_vhr10
from reprolib.data.sets.ssdd import prepare as ssdd

__all__ = ["SETS", "Prepared", "Split", "find", "prepare"]

# How each data set is found and made; a new one is a card, a module of `reprolib.data.sets` and a line here.
SETS: Mapping[str, ModuleType] = MappingProxyType(
    {
        **dict.fromkeys(generated.FAMILIES, generated),
        "bbbc038": bbbc038,
        "nwpu_vhr10": nwpu_vhr10,
        "coco": coco,
        "lvis": lvis,
        "cityscapes": cityscapes,
        "cityscapes_5": cityscapes,
        "ssdd": ssdd,
        "ssdd_7_3": ssdd,
        "hrsid": hrsid,
        "isaid": isaid,
        "custom": custom,
    }
)


def prepare(name: str, options: Mapping[str, object], *, root: Path = Path("data")) -> Prepared:
    """Make the data set below `root` unless it is there, and say where it lies.

    options: as the set's module in `reprolib.data.sets` says; for sets that come in files `from_archive` and `from_dir`
    name copies that are here already. Any name with `kind: coco_folder`: train_images, train_annotations, val_images,
    val_annotations (paths), read where they are.

    Calling it again changes nothing; an interrupted call leaves nothing half made, and the next one goes on; two
    processes that make the same set take turns. Raises DataError for unknown names and options, and where something
    has to be placed by hand.
    """
    module, options = _module(name, options)
    root = Path(root)
    if found := module.find(name, options, root=root):
        return found
    with lock(root, name):
        return module.find(name, options, root=root) or module.make(name, options, root=root)


def find(name: str, options: Mapping[str, object], *, root: Path = Path("data")) -> Prepared | None:
    """The data set where it is prepared below `root`, else None; writes nothing. Raises DataError as `prepare` does."""
    module, options = _module(name, options)
    return module.find(name, options, root=Path(root))


def _module(name: str, options: Mapping[str, object]) -> tuple[ModuleType, dict[str, object]]:
    given = dict(options)
    kind = given.pop("kind", None)
    if kind == "coco_folder":
        return coco_folder, given
    if kind is not None:
        raise DataError(f"data set {name}: kind {kind!r} is unknown; the only one is coco_folder")
    if name not in SETS:
        raise DataError(
            f"data set {name!r} is unknown; known are {', '.join(SETS)}, and any name with {{{coco_folder.HINT}}}"
        )
    return SETS[name], given
