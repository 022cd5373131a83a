"""TUDataset's graphs against plain loops and torch_geometric: made-up files, the real ones if MIXUPE_DATA has them."""

import hashlib
import os
import sys
import zipfile
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.model_selection import StratifiedKFold
from torch_geometric.data import Batch, Data
from torch_geometric.io import read_tu_data

from mixupe_theory.tables_data import GRAPHS
from mixupe_theory.training.data import graphs
from mixupe_theory.training.data.sources import CorruptData, MissingData

REAL = Path(os.environ.get("MIXUPE_DATA", ""))
BY_SOURCE = {g.source: g for g in graphs.GRAPH_SETS}

# graphs of each class, nodes, directed edges, features
FACTS = {
    "mutag": ([63, 125], 3371, 7442, 7),
    "nci1": ([2053, 2057], 122747, 265506, 37),
    "ptc_mr": ([192, 152], 4915, 10108, 18),
    "proteins": ([663, 450], 43471, 162088, 3),
    "imdb_binary": ([500, 500], 19773, 193062, 65),
    "imdb_multi": ([500, 500, 500], 19502, 197806, 59),
}

# 24 graphs: cycles of 3 to 6 nodes and stars, each edge twice, one graph with a lonely node
MADE_UP = graphs.GraphSet("MADE-UP", "")


def made_up_files():
    edges, graph_of, labels, tags = [], [], [], []
    for g in range(24):
        size, first = 3 + g % 4, len(graph_of) + 1
        pairs = [(i, (i + 1) % size) for i in range(size)] if g % 2 else [(0, i) for i in range(1, size - (g == 4))]
        edges += [(first + i, first + j) for i, j in pairs + [(j, i) for i, j in pairs]] * 2
        graph_of += [g + 1] * size
        labels.append(-1 if g % 2 else 1)
        tags += [(3, 5, 9)[(g + i) % 3] for i in range(size)]
    return {
        "A": "".join(f"{i}, {j}\n" for i, j in edges),
        "graph_indicator": "".join(f"{g}\n" for g in graph_of),
        "graph_labels": "".join(f"{label}\n" for label in labels),
        "node_labels": "".join(f"{tag}\n" for tag in tags),
    }


def numbers(text):
    return [tuple(map(int, line.split(","))) for line in text.split("\n") if line.strip()]


def digest(files):
    """The digest of what files say, from sorted lists."""
    order = [numbers(files["graph_indicator"]), sorted(set(numbers(files["A"])))]
    order += [numbers(files[kind]) for kind in ("graph_labels", "node_labels") if kind in files]
    content = b"".join(n.to_bytes(8, "little", signed=True) for part in order for row in part for n in row)
    return hashlib.sha256(content).hexdigest()


def put(folder, files, declared=MADE_UP):
    """Write files; the declaration that knows them."""
    for kind, text in files.items():
        path = folder / declared.file(kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return replace(declared, sha256=digest(files))


def slow(files):
    """Of each graph its nodes' tags, its adjacency matrix and its label: loops over lines."""
    graph_of = [g for (g,) in numbers(files["graph_indicator"])]
    first, sizes = {}, Counter(graph_of)
    for node, g in enumerate(graph_of, 1):
        first.setdefault(g, node)
    adjacency = {g: np.zeros((size, size), int) for g, size in sizes.items()}
    for i, j in numbers(files["A"]):
        g = graph_of[i - 1]
        adjacency[g][i - first[g], j - first[g]] = 1
    if "node_labels" in files:
        tags = [tag for (tag,) in numbers(files["node_labels"])]
        tags = {g: tags[first[g] - 1 : first[g] - 1 + sizes[g]] for g in sizes}
    else:
        tags = {g: matrix.sum(1).tolist() for g, matrix in adjacency.items()}
    labels = [label for (label,) in numbers(files["graph_labels"])]
    return [(tags[g], adjacency[g], labels[g - 1]) for g in sorted(sizes)]


def assert_same(inputs, expected):
    """A collection against slow graphs."""
    kinds = sorted({tag for tags, _, _ in expected for tag in tags})
    assert inputs.shape == (len(expected), len(kinds))
    for i, (tags, adjacency, _) in enumerate(expected):
        graph = inputs[torch.tensor([i])].batch()
        assert graph.x.tolist() == [[float(tag == kind) for kind in kinds] for tag in tags]
        assert graph.edge_index.T.tolist() == np.argwhere(adjacency).tolist()


def needed(source):
    declared = BY_SOURCE[source]
    for kind in ("A", "graph_indicator", "graph_labels", *["node_labels"] * declared.labelled):
        if not (REAL / declared.file(kind)).is_file():
            pytest.skip(f"MIXUPE_DATA has no {declared.file(kind)}")
    return declared


@cache
def _loaded(source):
    return graphs.SOURCES[source].load(REAL, seed=0, fold=None)


def real(source):
    """The real data set, or a skip that says which file is not there."""
    needed(source)
    return _loaded(source)


@pytest.mark.parametrize("source", FACTS)
def test_real_sets_have_the_published_numbers(source):
    data = real(source)
    classes, nodes, edges, features = FACTS[source]
    assert (data.train.targets.bincount() + data.test.targets.bincount()).tolist() == classes
    assert (len(data.classes), data.shape) == (len(classes), (features,))
    assert (data.train.inputs.nodes.shape, data.train.inputs.edges.shape) == ((nodes, features), (2, edges))
    assert f"{sum(classes)} graphs, {len(classes)} classes, {nodes} nodes" in graphs.SOURCES[source].verify(REAL)
    shares = data.test.targets.bincount() / torch.tensor(classes)
    assert ((shares * torch.tensor(classes) - torch.tensor(classes) / 10).abs() <= 1).all()


@pytest.mark.parametrize("source", FACTS)
def test_real_edges_are_symmetric_once_and_within_their_graph(source):
    inputs = real(source).train.inputs
    counts = inputs.edge_starts.diff()
    graph = torch.repeat_interleave(counts)
    sizes = inputs.node_starts.diff()
    assert (inputs.edges >= 0).all()
    assert (inputs.edges < sizes[graph]).all()
    assert (inputs.edges[0] != inputs.edges[1]).all()
    one, other = inputs.node_starts[graph] + inputs.edges
    forth, back = (torch.sort(a * len(inputs.nodes) + b).values for a, b in ((one, other), (other, one)))
    assert (forth.diff() > 0).all()  # each once
    assert torch.equal(forth, back)


@pytest.mark.parametrize("source", ["mutag", "imdb_multi"])
def test_real_sets_against_plain_loops(source):
    declared = needed(source)
    kinds = ["A", "graph_indicator", "graph_labels"] + ["node_labels"] * declared.labelled
    expected = slow({kind: (REAL / declared.file(kind)).read_text() for kind in kinds})
    found = graphs.read_tables(declared, REAL)
    assert_same(graphs.inputs(found), expected)
    assert found.graph_labels.tolist() == [label for _, _, label in expected]


@pytest.mark.parametrize("source", ["nci1", "ptc_mr", "proteins"])
def test_real_sets_against_torch_geometric(source):
    declared = needed(source)
    data, slices, sizes = read_tu_data(str(REAL / declared.name / "raw"), declared.name)
    inputs = graphs.inputs(graphs.read_tables(declared, REAL))
    assert torch.equal(inputs.nodes, data.x[:, sizes["num_node_attributes"] :])
    assert torch.equal(inputs.edges, data.edge_index)
    assert torch.equal(inputs.node_starts, slices["x"])
    assert torch.equal(inputs.edge_starts, slices["edge_index"])


def test_imdbs_degrees():
    batch = replace(real("imdb_binary").train.inputs, chosen=torch.arange(1000)).batch()
    degree = torch.bincount(batch.edge_index[0], minlength=len(batch.x))
    kinds = degree.unique()
    assert torch.equal(kinds[batch.x.argmax(1)], degree)
    assert (kinds.min(), kinds.max()) == (1, 135)


def test_made_up_files_against_plain_loops(tmp_path):
    files = made_up_files()
    declared = put(tmp_path, files)
    found = graphs.read_tables(declared, tmp_path)
    assert_same(graphs.inputs(found), slow(files))
    data = graphs.load(declared, tmp_path)
    assert (data.classes, data.shape) == (("-1", "1"), (3,))


def test_without_labels_the_degree_is_the_tag(tmp_path):
    files = made_up_files()
    del files["node_labels"]
    declared = put(tmp_path, files, replace(MADE_UP, labelled=False))
    inputs = graphs.inputs(graphs.read_tables(declared, tmp_path))
    assert_same(inputs, slow(files))
    assert inputs[torch.tensor([4])].batch().x[-1].tolist() == [1, 0, 0, 0, 0, 0][: inputs.shape[1]]  # the lonely node


def test_the_digest_is_of_the_content_alone(tmp_path):
    files = made_up_files()
    declared = put(tmp_path, files)
    before = graphs.verify(declared, tmp_path)
    other = {kind: text.replace(", ", ",").replace("\n", "\r\n") for kind, text in files.items()}
    other["A"] = "\n".join(sorted(set(other["A"].split())))  # each edge once, in another order, no last line end
    put(tmp_path, other)
    assert graphs.verify(declared, tmp_path) == before
    assert_same(graphs.inputs(graphs.read_tables(declared, tmp_path)), slow(files))


def collection(tmp_path):
    return graphs.inputs(graphs.read_tables(put(tmp_path, made_up_files()), tmp_path))


def test_batches_are_torch_geometrics(tmp_path):
    inputs = collection(tmp_path)
    chosen = torch.from_numpy(np.random.default_rng(0).integers(0, 24, 9))
    singles = [inputs[torch.tensor([i])].batch() for i in chosen]
    expected = Batch.from_data_list([Data(x=one.x, edge_index=one.edge_index) for one in singles])
    found = inputs[chosen].batch()
    assert isinstance(found, Batch)
    for name in ("x", "edge_index", "batch", "ptr"):
        assert torch.equal(found[name], expected[name])
    assert found.num_graphs == 9
    assert inputs.batch(torch.float64).x.dtype == torch.float64


def test_choices_of_choices_and_devices(tmp_path):
    inputs = collection(tmp_path)
    some = inputs[torch.tensor([5, 2, 7])][torch.tensor([2, 0])].to("cpu")
    assert some.chosen.tolist() == [7, 5]
    assert (len(some), some.shape) == (2, (2, 3))
    assert len(some[torch.arange(0)].batch().x) == 0


@pytest.mark.parametrize(
    "index",
    [3, [1, 2], slice(2), torch.tensor(1), torch.ones(24, dtype=torch.bool)],
    ids=["int", "list", "slice", "scalar", "mask"],
)
def test_other_indices_are_refused(index, tmp_path):
    with pytest.raises(TypeError, match=r"indexed by an int64 tensor of shape \(n,\), got"):
        collection(tmp_path)[index]


def test_the_folds_are_a_partition_and_always_the_same(tmp_path):
    declared = put(tmp_path, made_up_files())
    folds = [graphs.load(declared, tmp_path, seed=fold, fold=fold) for fold in range(10)]
    tested = torch.cat([data.test.inputs.chosen for data in folds])
    assert sorted(tested.tolist()) == list(range(24))
    for data in folds:
        both = data.train.inputs.chosen.tolist() + data.test.inputs.chosen.tolist()
        assert sorted(both) == list(range(24))
        assert data.test.targets.bincount(minlength=2).min() >= 1
    assert torch.equal(graphs.load(declared, tmp_path).test.inputs.chosen, folds[0].test.inputs.chosen)
    assert folds[3].split["fold"] == 3
    labels = [label for _, _, label in slow(made_up_files())]
    gin = StratifiedKFold(n_splits=10, shuffle=True, random_state=0).split(np.zeros(24), labels)  # as GIN's code has it
    assert [data.test.inputs.chosen.tolist() for data in folds] == [test.tolist() for _, test in gin]


@pytest.mark.parametrize("fold", [-1, 10])
def test_there_are_ten_folds(fold, tmp_path):
    with pytest.raises(ValueError, match=r"fold must be an integer .*, got"):
        graphs.load(put(tmp_path, made_up_files()), tmp_path, fold=fold)


def test_a_data_set_of_graphs_is_split_and_prepared_like_others(tmp_path):
    data = graphs.load(put(tmp_path, made_up_files()), tmp_path)
    held = data.held_out(0.25, seed=0)
    assert set(held.test.inputs.chosen.tolist()) < set(data.train.inputs.chosen.tolist())
    prepared = data.subset(6).prepared(data.train[torch.tensor([1, 3, 4])], torch.float32, rows=slice(1, None))
    assert (prepared.inputs.num_graphs, len(prepared)) == (2, 2)


def test_missing_files_are_named_with_the_command(tmp_path):
    with pytest.raises(MissingData, match=r"IMDB-MULTI/raw/IMDB-MULTI_A\.txt is missing; .*data fetch imdb_multi`"):
        graphs.SOURCES["imdb_multi"].load(tmp_path, seed=0, fold=None)


@pytest.mark.parametrize("kind", ["A", "graph_indicator", "graph_labels", "node_labels"])
def test_a_changed_number_is_noticed(kind, tmp_path):
    files = made_up_files()
    declared = put(tmp_path, files)
    put(tmp_path, files | {kind: "4" + files[kind][1:]})
    with pytest.raises(CorruptData, match=rf"MADE-UP/raw is not .* accepted is sha256:{declared.sha256}"):
        graphs.verify(declared, tmp_path)


@pytest.mark.parametrize("kind", ["A", "graph_labels"])
@pytest.mark.parametrize("text", ["1, x\n", "1, 2\n3\n", "1.5, 2\n"], ids=["word", "ragged", "fraction"])
def test_a_file_that_is_no_table_of_integers_is_named(kind, text, tmp_path):
    declared = put(tmp_path, made_up_files())
    (tmp_path / declared.file(kind)).write_text(text)
    with pytest.raises(CorruptData, match=rf"MADE-UP_{kind}\.txt: "):
        graphs.verify(declared, tmp_path)


def test_what_is_fetched_loads(tmp_path, monkeypatch):
    files = made_up_files()
    calls = []

    def download(url, digest, path):
        calls.append((url, digest))
        path.parent.mkdir(parents=True)
        with zipfile.ZipFile(path, "w") as archive:
            for kind, text in files.items():
                archive.writestr(f"MADE-UP/MADE-UP_{kind}.txt", text)
            archive.writestr("MADE-UP/README.txt", "about")

    monkeypatch.setattr(graphs, "download", download)
    declared = replace(MADE_UP, sha256=digest(files))
    graphs.fetch(declared, tmp_path)
    graphs.fetch(declared, tmp_path)
    assert calls == [("https://www.chrsmrrs.com/graphkerneldatasets/MADE-UP.zip", None)]  # once
    assert len(graphs.load(declared, tmp_path).train) == 21


@pytest.mark.parametrize("lacking", [True, False])
def test_another_archive_is_refused(lacking, tmp_path, monkeypatch):
    def download(url, digest, path):
        path.parent.mkdir(parents=True)
        with zipfile.ZipFile(path, "w") as archive:
            for kind, text in made_up_files().items():
                if not (lacking and kind == "A"):
                    archive.writestr(f"MADE-UP/MADE-UP_{kind}.txt", text)

    monkeypatch.setattr(graphs, "download", download)
    with pytest.raises(CorruptData, match=r"MADE-UP\.zip " + ("has no file" if lacking else "is not the published")):
        graphs.fetch(MADE_UP, tmp_path)
    assert not (tmp_path / "MADE-UP/raw").exists()


def test_without_torch_geometric_the_error_says_what_to_install(tmp_path, monkeypatch):
    inputs = collection(tmp_path)
    monkeypatch.setitem(sys.modules, "torch_geometric.data", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "mixupe-theory\[train\]"'):
        inputs.batch()


def test_the_sets_are_those_of_the_decks_table():
    assert [declared.name.replace("PTC_MR", "PTC") for declared in graphs.GRAPH_SETS] == list(GRAPHS.rows)
    assert list(graphs.SOURCES) == list(FACTS)
