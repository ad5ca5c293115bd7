"""Every system of the suite, and the variants of it that take other ways through the code; read by `runpy`.

A test goes over this list where the detector contract is common. `test_systems.py` refuses a module that it lacks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SYSTEMS = "reprolib.models.systems"
MAI = ("aspp", "nlb", "csab")
SE = ("carafeb", "fbo", "gcb")
SEANET = ("biou", "attention", "edge")
INSIGHT = ("lpm", "gpm", "parea")
LOCATION = ("cspam", "twfpn+csmf", "aml")


@dataclass(frozen=True, kw_only=True)
class System:
    """One call of a system's `build`.

    one_stage: proposals cost nothing, and it cannot be prompted. queries: nor do detections. training_only: layers that
    inference does without. side: px of thin inputs. boxes_only: it never reads the masks of the training set.
    by_heart: settings of the schedule that it needs to learn four images by heart.
    """

    id: str
    module: str
    switches: dict[str, object] = field(default_factory=dict)
    backbone: str = "resnet50"
    one_stage: bool = False
    training_only: frozenset[str] = frozenset()
    side: int = 64
    queries: bool = False
    boxes_only: bool = False
    by_heart: dict[str, object] = field(default_factory=dict)


ALL = (
    System(id="mask_rcnn", module=f"{SYSTEMS}.mask_rcnn.model"),
    System(
        id="mask_rcnn-mm", module=f"{SYSTEMS}.mask_rcnn.model", switches={"dialect": "mm", "background_channels": True}
    ),
    System(id="mask_rcnn-torchvision", module=f"{SYSTEMS}.mask_rcnn.model", switches={"dialect": "torchvision"}),
    System(id="mask_scoring_rcnn", module=f"{SYSTEMS}.mask_scoring_rcnn.model"),
    System(id="cascade_mask_rcnn-mm", module=f"{SYSTEMS}.cascade_mask_rcnn.model"),
    System(id="cascade_mask_rcnn-d2", module=f"{SYSTEMS}.cascade_mask_rcnn.model", switches={"dialect": "d2"}),
    System(id="htc", module=f"{SYSTEMS}.htc.model"),
    System(id="htc-semantic", module=f"{SYSTEMS}.htc.model", switches={"semantic_source": "from_instances"}),
    System(id="scnet", module=f"{SYSTEMS}.scnet.model"),
    System(id="scnet-semantic", module=f"{SYSTEMS}.scnet.model", switches={"semantic_source": "from_instances"}),
    System(id="panet", module=f"{SYSTEMS}.panet.model"),
    System(id="panet-neck", module=f"{SYSTEMS}.panet.model", switches={"panet_parts": "neck"}),
    System(id="groie", module=f"{SYSTEMS}.groie.model"),
    System(id="hq_isnet", module=f"{SYSTEMS}.hq_isnet.model", backbone="hrnet_w18"),
    System(id="sa_rcnn", module=f"{SYSTEMS}.sa_rcnn.model"),
    System(id="pointrend", module=f"{SYSTEMS}.pointrend.model"),
    System(id="pointrend-mm", module=f"{SYSTEMS}.pointrend.model", switches={"dialect": "mm"}),
    System(
        id="bmask_rcnn",
        module=f"{SYSTEMS}.bmask_rcnn.model",
        training_only=frozenset(f"roi_heads.mask_branch.head.boundary_{part}" for part in ("upsample", "predictor")),
    ),
    System(id="dct_mask", module=f"{SYSTEMS}.dct_mask.model"),
    System(id="fl_cse_roie", module=f"{SYSTEMS}.fl_cse_roie.model"),
    System(id="cse_mask_rcnn", module=f"{SYSTEMS}.cse_mask_rcnn.model"),
    System(id="emin", module=f"{SYSTEMS}.emin.model"),
    System(
        id="mask_transfiner",
        module=f"{SYSTEMS}.mask_transfiner.model",
        # In inference the middle value is 0.125 as published, by which an untrained network refines all 3,136 nodes.
        switches={"select_thresholds": ((0.125, 0.5, 0.5), (1e-6, 0.6, 0.8))},
        training_only=frozenset(
            f"roi_heads.{name}"
            for name in ("semantic", "mask_branch.boundary.upsample", "mask_branch.boundary.predictor")
        ),
    ),
    System(id="mnc", module=f"{SYSTEMS}.mnc.model"),
    System(id="solov2", module=f"{SYSTEMS}.solov2.model", one_stage=True),
    System(
        id="fcis",
        module=f"{SYSTEMS}.fcis.model",
        one_stage=True,
        queries=True,
        by_heart={"iterations": 1000},  # after 600 steps mask AP is 89.0
    ),
    System(
        id="solov2-light",
        module=f"{SYSTEMS}.solov2.model",
        switches={"solo_form": "light_448", "collision": "last_wins"},
        one_stage=True,
        # At 128 px its grids of 5 x 5 put two of the ships into neighbouring cells, of which inference keeps one.
        by_heart={"min_sizes": (256,), "max_size": 256, "test_size": 256},
    ),
    *(
        System(
            id=f"yolact-{form}-{nms}",
            module=f"{SYSTEMS}.yolact.model",
            switches={"yolact_form": form, "nms": nms},
            one_stage=True,
            training_only=frozenset({"head.semantic"}),
            # At 64 px P6 is one cell: in bfloat16 on CPUs (oneDNN) the weights of its convolution with stride 2 to P7
            # get gradients from unwritten memory, NaN at times.
            side=128,
        )
        for form, nms in (("mmdetection", "fast"), ("paper", "fast"), ("mmdetection", "standard"))
    ),
    # At 64 px P7 would be made of one cell, as above.
    *(
        System(
            id="polarmask" + suffix,
            module=f"{SYSTEMS}.polarmask.model",
            switches=switches,
            one_stage=True,
            queries=True,  # polygons are drawn, not computed by layers
            side=128,
            by_heart=by_heart,
        )
        for suffix, switches, by_heart in (
            ("", {}, {}),
            # after 400 steps box AP 87.7: boxes here are those of the rays
            ("-mask", {"polar_nms": "mask", "rays": 72, "keep_ratio": False}, {"iterations": 800}),
        )
    ),
    *(
        System(
            id="centermask" + suffix,
            module=f"{SYSTEMS}.centermask.model",
            switches=switches,
            one_stage=True,
            side=128,
        )
        for suffix, switches in (("", {}), ("-fpn224", {"centermask_maskiou": False, "roi_map": "fpn224"}))
    ),
    System(id="sotr", module=f"{SYSTEMS}.sotr.model", one_stage=True),
    System(
        id="sotr-double",
        module=f"{SYSTEMS}.sotr.model",
        switches={"sotr_double_width": True, "sotr_pos_embed": True, "collision": "last_wins"},
        one_stage=True,
    ),
    System(
        id="maskformer",
        module=f"{SYSTEMS}.maskformer.model",
        switches={"dropout": 0.0},  # with it four images take many times as long to learn
        one_stage=True,
        queries=True,
    ),
    System(id="mask2former", module=f"{SYSTEMS}.mask2former.model", one_stage=True, queries=True),
    *(
        System(
            id="box2mask" + suffix,
            module=f"{SYSTEMS}.box2mask.model",
            switches={"mask_threshold": 0.45, **switches},  # as in its row; untrained masks do not reach 0.55
            one_stage=True,
            training_only=frozenset({"head.level_set"}),
            boxes_only=True,
        )
        for suffix, switches in (("", {}), ("-group", {"mask_norm": "group"}))
    ),
    System(
        id="knet",
        module=f"{SYSTEMS}.knet.model",
        one_stage=True,
        queries=True,
        by_heart={"iterations": 1000, "lr": 5e-4},  # published 1e-4; after 400 steps of 1e-3 box AP 84
    ),
    System(
        id="queryinst",
        module=f"{SYSTEMS}.queryinst.model",
        switches={"queries": 14},  # of the test's 20 no untrained one's box would lie inside the image
        one_stage=True,
        queries=True,
        training_only=frozenset(
            f"head.mask_heads.{stage}.{name}"  # inference has masks of the last stage
            for stage in range(5)
            for name in (
                *(f"interaction.{part}" for part in ("weights", "first_norm", "second_norm")),
                *(f"convs.{conv}.{part}" for conv in range(4) for part in (0, 1)),
                "upsample",
                "predictor",
            )
        ),
        side=128,  # the whole image is read from P5
    ),
    System(
        id="iemask_rcnn",
        module="reprolib.papers.iemask_rcnn.model",
        switches={"components": ("cem", "gim", "bottomup", "aff", "encdechead")},
        side=128,  # as above: at 64 px GIM's second convolution would read a map of one cell
    ),
    *(
        System(
            id="mai_se_net" + suffix,
            module="reprolib.papers.mai_se_net.model",
            switches={"components": components},
            backbone="resnet101",
        )
        for suffix, components in (
            ("", MAI + SE),
            ("-mai", MAI),
            ("-se", SE),
            ("-carafeb", ("carafeb",)),
            ("-fbo+gcb", ("fbo", "gcb")),
        )
    ),
    *(
        System(id="seanet" + suffix, module="reprolib.papers.seanet.model", switches=switches)
        for suffix, switches in (
            ("", {"components": SEANET}),
            ("-mask_scoring", {"components": SEANET, "host": "mask_scoring_rcnn"}),
            ("-biou", {"components": ("biou",)}),
            ("-attention", {"components": ("attention",), "roi_fusion": "single_level"}),
            ("-concat", {"components": ("attention", "edge"), "edge_fuse": "concat"}),
        )
    ),
    *(
        System(id="insight" + suffix, module="reprolib.papers.insight_any_instance.model", switches=switches)
        for suffix, switches in (
            ("", {"components": INSIGHT}),
            ("-cascade", {"components": INSIGHT, "host": "cascade_mask_rcnn"}),
            ("-scnet", {"components": INSIGHT, "host": "scnet"}),
            ("-lpm", {"components": ("lpm",), "freq_op": "multiply"}),
            ("-gpm", {"components": ("gpm",), "prompt_targets": "mask+box"}),
            ("-parea", {"components": ("parea",), "host": "cascade_mask_rcnn", "parea_on": "roi"}),
        )
    ),
    *(
        System(
            id="location" + suffix,
            module="reprolib.papers.location_attention.model",
            switches=switches,
            one_stage=True,
        )
        for suffix, switches in (
            ("", {"components": LOCATION}),
            ("-cspam", {"components": ("cspam",), "t1_source": "own_conv", "pam_outer_residual": False}),
            ("-twfpn+csmf", {"components": ("twfpn+csmf",), "head_inputs": "P", "guide": "concat"}),
            ("-aml", {"components": ("aml",), "aml_train": "sigmoid"}),
        )
    ),
)
