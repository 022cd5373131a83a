"""The graph data sets of the deck's Table 6, from the TUDatasets collection.

As in the experiments of GIN (Xu et al. 2018): a node's feature is its label, or its degree where the data set has no
labels, one column for each value that occurs in the data set; labels of edges and further attributes are not used; ten
folds, stratified, shuffled with seed 0.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold

from mixupe_theory import _validation as check
from mixupe_theory.files import write_atomically
from mixupe_theory.training.data.dataset import Dataset, Part
from mixupe_theory.training.data.digests import check_content
from mixupe_theory.training.data.fetching import download, members
from mixupe_theory.training.data.graph_inputs import GraphInputs
from mixupe_theory.training.data.sources import CorruptData, MissingData, Source, read

FOLDS = 10
URL = "https://www.chrsmrrs.com/graphkerneldatasets"


@dataclass(frozen=True)
class GraphSet:
    """A data set of graphs.

    Attributes:
        name: TUDataset's name, which its files begin with.
        sha256: Of its content, see :meth:`Tables.content`; the same for every way to write the numbers.
        labelled: Whether nodes have labels.
    """

    name: str
    sha256: str
    labelled: bool = True

    @property
    def source(self) -> str:
        """Its source's name."""
        return self.name.lower().replace("-", "_")

    def file(self, kind: str) -> str:
        """The place of one of its files in the data folder."""
        return f"{self.name}/raw/{self.name}_{kind}.txt"


GRAPH_SETS = (
    GraphSet("MUTAG", "c16ebf0c69c3c4b1f8120b858f1bad634d0c03375a5ec744a0fe8da63a725792"),
    GraphSet("NCI1", "09469f775feb840583bd4abe46cdcae9c3a5876d52623a445a2c3f801699c98c"),
    GraphSet("PTC_MR", "f515f4bd58c379940bcae6f5afed4d3c73add4624c2f15572f3d1cf007f6e3a9"),
    GraphSet("PROTEINS", "a655cbcaa699f3f07228b14daf7ea7086d501ccf67223f6ac053e6d29707f0a0"),
    GraphSet("IMDB-BINARY", "16bdb1e01bab259a3e32b2b370efbd5288a95d813c2497bd2e688fb4f32e0e04", labelled=False),
    GraphSet("IMDB-MULTI", "cfcde851d99da43c0a0c590db038acbb22a706ea4a3b42f13db1534429180e3c", labelled=False),
)


@dataclass(frozen=True)
class Tables:
    """What a data set's files say, numbered from 1 as there; int64.

    Attributes:
        edges: Pairs of nodes, sorted, each once, (edges, 2): IMDB's files list each edge twice.
        graph_of: Graph of each node, (nodes,).
        graph_labels: (graphs,).
        node_labels: (nodes,); None where nodes have none.
    """

    edges: np.ndarray
    graph_of: np.ndarray
    graph_labels: np.ndarray
    node_labels: np.ndarray | None

    def content(self) -> bytes:
        """All numbers, whatever the order of the edges and the form of the files: what the digest is taken of."""
        parts = [self.graph_of, self.edges, self.graph_labels]
        parts += [] if self.node_labels is None else [self.node_labels]
        return b"".join(np.ascontiguousarray(part, "<i8").tobytes() for part in parts)


def tables(graphs: GraphSet, read_file: Callable[[str], bytes], place: Path) -> Tables:
    """The tables of a data set, verified.

    Args:
        graphs: The data set.
        read_file: The content of a file by its kind, for example "graph_labels".
        place: Where the files are, for messages.

    Raises:
        CorruptData: If a file is no table of integers, or the whole is not the published data set.
    """

    def table(kind: str) -> np.ndarray:
        try:
            return np.loadtxt(io.BytesIO(read_file(kind)), np.int64, delimiter=",", ndmin=1)
        except ValueError as error:
            raise CorruptData(
                f"{place / f'{graphs.name}_{kind}.txt'}: {error}; delete it and fetch it again"
            ) from error

    found = Tables(
        np.unique(table("A"), axis=0),
        table("graph_indicator"),
        table("graph_labels"),
        table("node_labels") if graphs.labelled else None,
    )
    check_content(place, found.content(), (f"sha256:{graphs.sha256}",))
    return found


def read_tables(graphs: GraphSet, folder: Path) -> Tables:
    """Read and verify a data set's files.

    Raises:
        MissingData: If a file is not there.
        CorruptData: If the content is not the published one.
    """
    return tables(
        graphs, lambda kind: read(graphs.source, folder, graphs.file(kind)), (folder / graphs.file("A")).parent
    )


def inputs(found: Tables) -> GraphInputs:
    """The graphs of a data set, with one-hot node features."""
    nodes, count = len(found.graph_of), len(found.graph_labels)
    source, target = torch.from_numpy(found.edges - 1).T
    graph_of = torch.from_numpy(found.graph_of - 1)
    tags = torch.bincount(source, minlength=nodes) if found.node_labels is None else torch.from_numpy(found.node_labels)
    node_starts, edge_starts = (
        torch.nn.functional.pad(torch.bincount(owner, minlength=count).cumsum(0), (1, 0))
        for owner in (graph_of, graph_of[source])
    )
    first = node_starts[graph_of[source]]
    return GraphInputs(
        nodes=torch.nn.functional.one_hot(tags.unique(return_inverse=True)[1]).float(),
        edges=torch.stack([source - first, target - first]),
        node_starts=node_starts,
        edge_starts=edge_starts,
        chosen=torch.arange(count),
    )


def load(graphs: GraphSet, folder: Path, *, seed: int = 0, fold: int | None = None) -> Dataset:
    """Load a data set with one of its ten folds as test part, the first by default; ``seed`` is ignored.

    Raises:
        ValueError: If there is no such fold.
    """
    fold = 0 if fold is None else check.integer("fold", fold, 0)
    if fold >= FOLDS:
        raise ValueError(f"fold must be an integer between 0 and {FOLDS - 1}, got {fold}")
    found = read_tables(graphs, folder)
    classes, targets = np.unique(found.graph_labels, return_inverse=True)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(targets, targets)
    train, test = map(torch.from_numpy, list(folds)[fold])
    whole = Part(inputs(found), torch.from_numpy(targets))
    split = {"by": f"{FOLDS} folds, stratified, shuffled with seed 0", "fold": fold}
    return Dataset(graphs.source, whole[train], whole[test], tuple(map(str, classes)), split=split)


def verify(graphs: GraphSet, folder: Path) -> str:
    """Check the files and say what they hold."""
    found = read_tables(graphs, folder)
    labels = "none" if found.node_labels is None else len(set(found.node_labels.tolist()))
    return (
        f"{len(found.graph_labels)} graphs, {len(set(found.graph_labels.tolist()))} classes, {len(found.graph_of)} "
        f"nodes, {len(found.edges)} directed edges, node labels: {labels}"
    )


def fetch(graphs: GraphSet, folder: Path) -> None:
    """Get the official archive, verify and unpack it, unless the files are there.

    Raises:
        OSError: If it cannot be downloaded.
        CorruptData: If it is not what is known here.
    """
    with suppress(MissingData, CorruptData):
        verify(graphs, folder)
        return
    archive = folder / graphs.name / f"{graphs.name}.zip"
    download(f"{URL}/{archive.name}", None, archive)
    files = {PurePosixPath(name).name: content for name, content in members(archive) if name.endswith(".txt")}
    try:
        tables(graphs, lambda kind: files[f"{graphs.name}_{kind}.txt"], archive)
    except KeyError as error:
        raise CorruptData(f"{archive} has no file {error}; delete it and fetch it again") from None
    for name, content in files.items():
        write_atomically(archive.parent / "raw" / name, content)


SOURCES: dict[str, Source] = {
    graphs.source: Source(
        name=graphs.source,
        title=graphs.name,
        family="graphs",
        place=graphs.file("*"),
        load=partial(load, graphs),
        verify=partial(verify, graphs),
        fetch=partial(fetch, graphs),
    )
    for graphs in GRAPH_SETS
}
