"""The project's datasets: the place of each adapter, its facts for lists, and the usual names of its folder.

An adapter takes its ``info`` from here. Nothing heavy is imported, so that listing datasets is quick.
"""

from __future__ import annotations

from dataclasses import dataclass

from diadbench.datasets.dataset_info import DatasetInfo


@dataclass(frozen=True)
class Entry:
    """A registered dataset.

    Attributes:
        target: Import string of its adapter.
        info: Its facts.
        folders: Usual names of its folder, tried in this order below a data root.
    """

    target: str
    info: DatasetInfo
    folders: tuple[str, ...] = ()


_CC_NC = "CC BY-NC-SA 4.0"
_MVTEC = DatasetInfo(
    name="mvtec",
    title="MVTec-AD",
    summary="15 classes of textures and objects, 5,354 images, 73 kinds of defects with pixel masks.",
    homepage="https://www.mvtec.com/company/research/datasets/mvtec-ad",
    licence=_CC_NC,
    cite="bergmann2019mvtec",
    folder="mvtec",
    classes=(
        *("carpet", "grid", "leather", "tile", "wood"),  # textures first, in ADer's order
        *("bottle", "cable", "capsule", "hazelnut", "metal_nut"),
        *("pill", "screw", "toothbrush", "transistor", "zipper"),
    ),
)
_VISA = DatasetInfo(
    name="visa",
    title="VisA",
    summary="12 classes of circuit boards, food and candles, 10,821 images; the 1cls split.",
    homepage="https://github.com/amazon-science/spot-diff",
    licence="CC BY 4.0",
    cite="zou2022spot",
    folder="visa",
    classes=(
        *("pcb1", "pcb2", "pcb3", "pcb4"),  # complex, multi-instance, single: ADer's order
        *("macaroni1", "macaroni2", "capsules", "candle"),
        *("cashew", "chewinggum", "fryum", "pipe_fryum"),
    ),
)
_REALIAD = DatasetInfo(
    name="realiad",
    title="Real-IAD",
    summary="30 classes of parts, each sample seen by five cameras: 151,050 images of 30,210 samples.",
    homepage="https://realiad4ad.github.io/Real-IAD/",
    licence=_CC_NC,
    cite="wang2024realiad",
    folder="realiad",
    classes=(
        *("audiojack", "bottle_cap", "button_battery", "end_cap", "eraser", "fire_hood", "mint", "mounts", "pcb"),
        *("phone_battery", "plastic_nut", "plastic_plug", "porcelain_doll", "regulator", "rolled_strip_base"),
        *("sim_card_set", "switch", "tape", "terminalblock", "toothbrush", "toy", "toy_brick", "transistor1"),
        *("u_block", "usb", "usb_adaptor", "vcpill", "wooden_beads", "woodstick", "zipper"),
    ),
)
_UNIMEDICAL = DatasetInfo(
    name="unimedical",
    title="Uni-Medical",
    summary="Brain MRI, liver CT and retinal OCT out of BMAD: 3 classes, 20,352 images.",
    homepage="https://github.com/DorisBao/BMAD",
    licence=f"{_CC_NC} (BMAD; its sources BraTS2021, BTCV, LiTS and RESC have terms of their own)",
    cite="bao2023bmad",
    folder="medical",
    classes=("brain", "liver", "retinal"),
)
_COCO_AD = DatasetInfo(
    name="coco_ad",
    title="COCO-AD",
    summary="COCO 2017 in four splits; in each, 20 of the 80 categories are anomalies. The figure is their mean.",
    homepage="https://cocodataset.org",
    licence="annotations CC BY 4.0; images under the Flickr terms of use",
    cite="zhang2024invad",
    folder="coco",
    classes=("split0", "split1", "split2", "split3"),
)
_MVTEC3D = DatasetInfo(
    name="mvtec3d",
    title="MVTec-3D",
    summary="10 classes, RGB images with xyz scans: 3,853 images without the validation split.",
    homepage="https://www.mvtec.com/company/research/datasets/mvtec-3d-ad",
    licence=_CC_NC,
    cite="bergmann2022mvtec3d",
    folder="mvtec3d",
    classes=("bagel", "cable_gland", "carrot", "cookie", "dowel", "foam", "peach", "potato", "rope", "tire"),
)
_BTAD = DatasetInfo(
    name="btad",
    title="BTAD",
    summary="3 industrial products, 2,540 images.",
    homepage="https://github.com/pankajmishra000/VT-ADL",
    licence="CC BY-SA 4.0",
    cite="mishra2021btad",
    folder="btad",
    classes=("01", "02", "03"),
)
_MPDD = DatasetInfo(
    name="mpdd",
    title="MPDD",
    summary="6 classes of painted metal parts, 1,346 images.",
    homepage="https://github.com/stepanje/MPDD",
    licence=_CC_NC,
    cite="jezek2021mpdd",
    folder="mpdd",
    classes=("bracket_black", "bracket_brown", "bracket_white", "connector", "metal_plate", "tubes"),
)
_LOCO = DatasetInfo(
    name="mvtec_loco",
    title="MVTec-LOCO",
    summary="5 classes with structural and logical anomalies, 3,340 images without the validation split.",
    homepage="https://www.mvtec.com/company/research/datasets/mvtec-loco",
    licence=_CC_NC,
    cite="bergmann2022loco",
    folder="mvtec_loco",
    classes=("breakfast_box", "juice_bottle", "pushpins", "screw_bag", "splicing_connectors"),
)
_MVTEC_AD_2 = DatasetInfo(
    name="mvtec_ad_2",
    title="MVTec-AD-2",
    summary="8 objects under several lights: 3,612 images with labels, 302 for validation, 4,090 private test images.",
    homepage="https://www.mvtec.com/company/research/datasets/mvtec-ad-2",
    licence=_CC_NC,
    cite="hecklerkram2025mvtecad2",
    folder="mvtec_ad_2",
    classes=("can", "fabric", "fruit_jelly", "rice", "sheet_metal", "vial", "wallplugs", "walnuts"),
)
_KSDD = DatasetInfo(
    name="kolektorsdd",
    title="KolektorSDD",
    summary="Surfaces of 50 commutators, 399 images, 52 of them with a crack; a mask for each.",
    homepage="https://www.vicos.si/resources/kolektorsdd/",
    licence=_CC_NC,
    cite="tabernik2020kolektorsdd",
    folder="kolektorsdd",
    classes=("kolektorsdd",),
)
_KSDD2 = DatasetInfo(
    name="kolektorsdd2",
    title="KolektorSDD2",
    summary="Surfaces of one product with several kinds of defects, 3,335 images; a mask for each.",
    homepage="https://www.vicos.si/resources/kolektorsdd2/",
    licence=_CC_NC,
    cite="bozic2021kolektorsdd2",
    folder="kolektorsdd2",
    classes=("kolektorsdd2",),
)
_DAGM = DatasetInfo(
    name="dagm",
    title="DAGM",
    summary="10 generated textures, 16,100 images with 2,100 defects; coarse ellipses as masks.",
    homepage="https://zenodo.org/records/12750201",
    licence="CC BY 4.0",
    cite="wieler2007dagm",
    folder="dagm",
    classes=tuple(f"Class{i}" for i in range(1, 11)),
)
_3CAD = DatasetInfo(
    name="3cad",
    title="3CAD",
    summary="8 kinds of parts of consumer electronics, 27,039 images of 288 to 1,024 pixels.",
    homepage="https://github.com/EnquanYang2022/3CAD",
    licence="not stated by the owner",
    cite="yang2025threecad",
    folder="3CAD",
    classes=(
        "Aluminum_Camera_Cover",
        "Aluminum_Ipad",
        "Aluminum_Middle_Frame",
        "Aluminum_New_Ipad",
        "Aluminum_New_Middle_Frame",
        "Aluminum_Pc",
        "Copper_Stator",
        "Iron_Stator",
    ),
)
_ELPV = DatasetInfo(
    name="elpv",
    title="ELPV",
    summary="Electroluminescence images of solar cells, mono- and polycrystalline; image labels, no masks.",
    homepage="https://github.com/zae-bayern/elpv-dataset",
    licence=_CC_NC,
    cite="buerhop2018elpv",
    folder="elpv",
    classes=("mono", "poly"),
    has_masks=False,
)
_TOY = DatasetInfo(
    name="toy",
    title="Toy",
    summary="Washers, weave, tiles and capsules drawn by the program, with four kinds of defects and exact masks.",
    licence="CC0 1.0",
    folder="toy",
    classes=("washer", "weave", "tile", "capsule"),
    flags=("procedural images",),
)
_FOLDER = DatasetInfo(
    name="folder",
    title="Folder",
    summary="Your own data, with any class names: lists of samples, MVTec-AD's folders, or folders that you name.",
    folder="folder",
)


def _entries(*entries: Entry) -> dict[str, Entry]:
    return {entry.info.name: entry for entry in entries}


CATALOG: dict[str, Entry] = _entries(
    Entry(
        "diadbench.datasets.sets.mvtec:Mvtec",
        _MVTEC,
        ("mvtec", "MVTec-AD", "mvtec_anomaly_detection", "mvtec_ad", "MVTecAD", "MVTec", "mvtec-ad", "MVTec_AD"),
    ),
    Entry(
        "diadbench.datasets.sets.visa:Visa",
        _VISA,
        ("visa", "VisA", "VisA_20220922", "visa_pytorch", "VisA_pytorch", "VISA"),
    ),
    Entry(
        "diadbench.datasets.sets.realiad:RealIad",
        _REALIAD,
        ("realiad", "Real-IAD", "RealIAD", "real_iad", "Real_IAD", "real-iad"),
    ),
    Entry(
        "diadbench.datasets.sets.unimedical:UniMedical",
        _UNIMEDICAL,
        ("medical", "unimedical", "Uni-Medical", "uni_medical", "BMAD", "bmad"),
    ),
    Entry("diadbench.datasets.sets.coco_ad:CocoAd", _COCO_AD, ("coco", "coco_ad", "COCO-AD", "COCO", "coco2017")),
    Entry(
        "diadbench.datasets.sets.mvtec3d:Mvtec3d",
        _MVTEC3D,
        ("mvtec3d", "MVTec-3D", "mvtec_3d_anomaly_detection", "MVTec-3D-AD", "mvtec_3d", "MVTec3D", "mvtec3d_ad"),
    ),
    Entry(
        "diadbench.datasets.sets.btad:Btad",
        _BTAD,
        ("btad", "BTAD", "BTech_Dataset_transformed", "BTech_Dataset_Transformed"),
    ),
    Entry("diadbench.datasets.sets.mpdd:Mpdd", _MPDD, ("mpdd", "MPDD")),
    Entry(
        "diadbench.datasets.sets.mvtec_loco:MvtecLoco",
        _LOCO,
        ("mvtec_loco", "MVTec-LOCO", "mvtec_loco_anomaly_detection", "MVTec_LOCO", "mvtec-loco"),
    ),
    Entry(
        "diadbench.datasets.sets.mvtec_ad_2:MvtecAd2",
        _MVTEC_AD_2,
        ("mvtec_ad_2", "MVTec-AD-2", "mvtec_ad2", "MVTec_AD_2", "mvtecad2", "MVTecAD2", "mvtec-ad-2"),
    ),
    Entry("diadbench.datasets.sets.kolektorsdd:KolektorSdd", _KSDD, ("kolektorsdd", "KolektorSDD", "KSDD", "ksdd")),
    Entry(
        "diadbench.datasets.sets.kolektorsdd2:KolektorSdd2", _KSDD2, ("kolektorsdd2", "KolektorSDD2", "KSDD2", "ksdd2")
    ),
    Entry("diadbench.datasets.sets.dagm:Dagm", _DAGM, ("dagm", "DAGM", "DAGM_KaggleUpload", "DAGM2007", "DAGM_2007")),
    Entry("diadbench.datasets.sets.three_cad:ThreeCad", _3CAD, ("3CAD", "3cad")),
    Entry("diadbench.datasets.sets.elpv:Elpv", _ELPV),
    Entry("diadbench.datasets.toy.dataset:Toy", _TOY),
    Entry("diadbench.datasets.sets.folder:Folder", _FOLDER),
)


def info(name: str) -> DatasetInfo:
    """Return the facts of a registered dataset."""
    return CATALOG[name].info
