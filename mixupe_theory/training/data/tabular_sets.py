"""The fifteen data sets of the deck's Table 4, as OpenML has them: facts about their files, no code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TabularSet:
    """A tabular data set.

    Attributes:
        name: OpenML's name.
        title: The deck's.
        data_id: OpenML's number of the data set.
        rows: Number of examples.
        features: Number of columns beside the target.
        classes: Number of classes that occur.
        sha256: Of the known file's content: the text of a .csv.gz, the arrays ``X`` then ``y`` of an .npz; None where
            only a file that we fetched ourselves, with its digest recorded, is accepted.
        nominal: Positions of the columns whose values are names, be they written as numbers.
        missing: Number of empty cells.
        last: Where the target is a number to be grouped: the last number of each class but the last one.
        official_train: The first so many rows are the official training part; None where there is no official split.
    """

    name: str
    title: str
    data_id: int
    rows: int
    features: int
    classes: int
    sha256: str | None = None
    nominal: tuple[int, ...] = ()
    missing: int = 0
    last: tuple[int, ...] = ()
    official_train: int | None = None

    @property
    def is_pixels(self) -> bool:
        """Whether the features are pixels, kept as bytes in an .npz file."""
        return self.name == "mnist_784"

    @property
    def file(self) -> str:
        """Its place in the data folder."""
        return f"tabular/{self.name}{'.npz' if self.is_pixels else '.csv.gz'}"


# sex, and six "exists" flags of each of the twelve leads, which have twelve columns each
_ARRHYTHMIA_NOMINAL = (1, *(15 + 12 * lead + flag for lead in range(12) for flag in range(6, 12)))

TABULAR_SETS = (
    TabularSet(
        "arrhythmia",
        "Arrhythmia",
        data_id=5,
        rows=452,
        features=279,
        classes=13,
        nominal=_ARRHYTHMIA_NOMINAL,
        missing=408,
        sha256="b74c689bb1e4abc73de8288d4beda17fbd23fdebc8f68be0d1d0f68a7dcc55c8",
    ),
    TabularSet(
        "letter",
        "Letter",
        data_id=6,
        rows=20000,
        features=16,
        classes=26,
        sha256="3246b2c7b21bbca7a2b9a8afa86c3ae3a2765f40c3bd4000b80673a0596c8d78",
    ),
    TabularSet(
        "balance-scale",
        "Balance-scale",
        data_id=11,
        rows=625,
        features=4,
        classes=3,
        sha256="f105199cc001501147fe1a7f9e9cb89fb053608ea3676bd4184e757102e95e1e",
    ),
    TabularSet(
        "mfeat-factors",
        "Mfeat-factors",
        data_id=12,
        rows=2000,
        features=216,
        classes=10,
        sha256="1da81c201eb5b2a451748f616c4c45dcf742cfb3daf44fef24766110ef0b808c",
    ),
    TabularSet(
        "mfeat-fourier",
        "Mfeat-fourier",
        data_id=14,
        rows=2000,
        features=76,
        classes=10,
        sha256="0f1bab9736709ee1bffdc011738216784c5ae8d7bc855a25ada72ee5be879f33",
    ),
    TabularSet(
        "mfeat-karhunen",
        "Mfeat-karhunen",
        data_id=16,
        rows=2000,
        features=64,
        classes=10,
        sha256="820b29997fa359fb9f625dc21dc5e619f32c7bc313b03bc30e87af0859afea4e",
    ),
    TabularSet(
        "mfeat-morphological",
        "Mfeat-morph",
        data_id=18,
        rows=2000,
        features=6,
        classes=10,
        sha256="7deab98c59a126db9c46729894d212ac81ceb9bee3967bdd9272e87c6dedbed8",
    ),
    TabularSet(
        "mfeat-zernike",
        "Mfeat-zernike",
        data_id=22,
        rows=2000,
        features=47,
        classes=10,
        sha256="fcd5aedd944d3ed9f5df5b077e2e9970d3ea57e65dda84c75936dee9a337b4ba",
    ),
    TabularSet(
        "cmc",
        "CMC",
        data_id=23,
        rows=1473,
        features=9,
        classes=3,
        nominal=(1, 2, 4, 5, 6, 7, 8),  # all but the wife's age and the number of children
        sha256="fa8b9dddf06673cf0fe2623ce61a4d16b6c42e96217e5828dc0b5dde03cf3257",
    ),
    TabularSet(
        "optdigits",
        "Optdigits",
        data_id=28,
        rows=5620,
        features=64,
        classes=10,
        sha256="8a2e9d3d9f3c0ac53c43149938e395c40192df0a54565c063a3a5a01d00514c5",
    ),
    TabularSet(
        "pendigits",
        "Pendigits",
        data_id=32,
        rows=10992,
        features=16,
        classes=10,
        sha256="cf198bcecca8bfccc89e17c951a86210386044a0e9c992cf72543f3603f2ffc5",
    ),
    TabularSet(
        "iris",
        "Iris",
        data_id=61,
        rows=150,
        features=4,
        classes=3,
        sha256="e99cb500754e26849ce814048e6a13766c3f7fbbbc6e6242191d663be628d940",
    ),
    TabularSet(
        "mnist_784",
        "Mnist_784",
        data_id=554,
        rows=70000,
        features=784,
        classes=10,
        official_train=60000,
        sha256="c2069063c1105f2bf96266aef1ff68c6e13bdda7a54e37bf19c16f1db24efc83",
    ),
    # OpenML's own target, the number of rings, has 28 values; the deck's error of 35 % fits the usual three classes
    TabularSet(
        "abalone",
        "Abalone",
        data_id=183,
        rows=4177,
        features=8,
        classes=3,
        nominal=(0,),
        last=(8, 10),
        sha256="5d26d49c36ec5f02b0220b0a31d86cdf432955bdc0c039de01aad964f83be457",
    ),
    TabularSet("volkert", "Volkert", data_id=41166, rows=58310, features=180, classes=10),
)
