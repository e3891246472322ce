"""Protein interactions: every spelling of an edge list, and the spectral embedding against a dense solve."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from scipy.linalg import subspace_angles

from scbig_dist.errors import UserError
from scbig_dist.screen import ppi as ppi_module
from scbig_dist.screen.ppi import PPI, read_ppi

ROWS = [("A", "B", 900), ("B", "A", 900), ("B", "C", 700), ("C", "C", 999), ("C", "D", 300)]


def write(path, text):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "separator", "header"),
    [
        ("ppi.tsv", "\t", ("a", "b", "combined_score")),
        ("ppi.txt", " ", ("protein1", "protein2", "combined_score")),
        ("ppi.csv", ",", ("gene1", "gene2", "whatever")),
        ("ppi.txt.gz", "\t", ("#node1", "node2", "combined_score")),
        ("ppi.tsv.gz", "\t", None),
    ],
)
def test_every_spelling_gives_the_same_graph(tmp_path, name, separator, header):
    lines = ([separator.join(header)] if header else []) + [separator.join(map(str, row)) for row in ROWS]
    graph = read_ppi(write(tmp_path / name, "\n".join(lines) + "\n"), 700.0)
    assert graph.nodes == ("A", "B", "C")
    dense = graph.adjacency(["C", "X", "B", "A"])
    assert dense.dtype == bool and dense.format == "csr"
    expected = np.zeros((4, 4), dtype=bool)
    for i, j in ((0, 2), (2, 3)):
        expected[i, j] = expected[j, i] = True
    assert np.array_equal(dense.toarray(), expected)
    assert graph.coverage(["C", "X", "B", "A"]).startswith(
        f"PPI {name} at 700: 3 of 4 genes, 2 interactions among them"
    )


def test_columns_are_found_by_name_and_a_gene_may_be_called_nan(tmp_path):
    text = "combined_score\textra\tb\ta\n900\tx\tNAN\tTP53\n"
    graph = read_ppi(write(tmp_path / "p.tsv", text), 700.0)
    assert graph.nodes == ("NAN", "TP53")


def test_two_columns_mean_that_every_row_is_an_edge(tmp_path):
    graph = read_ppi(write(tmp_path / "p.txt", "KLF1 TP53\nTP53 MYC\n"), 700.0)
    assert graph.nodes == ("KLF1", "MYC", "TP53") and len(graph.edges) == 2


def test_the_last_numeric_column_is_the_score(tmp_path):
    graph = read_ppi(write(tmp_path / "p.tsv", "x\ty\tfirst\tlast\tnote\nA\tB\t1\t800\thi\nB\tC\t900\t2\tho\n"), 700.0)
    assert graph.nodes == ("A", "B")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("A\nB\n", "one column; expected two of gene symbols"),
        ("a\tb\tcombined_score\n", "no rows"),
        (
            "a\tb\tcombined_score\nA\tB\t0.9\n",
            r"no interaction has a score of 700 or more \(highest: 0.9\); lower priors.ppi_threshold",
        ),
        ("a\tb\tcombined_score\nA\tB\tmuch\n", r"column 'combined_score' has 'much' in data row 1"),
        ("a\tb\tnote\nA\tB\tmuch\n", "no column of numbers; .* columns: a, b, note"),
        ("a\tb\tcombined_score\nA\tA\t900\n", "no interaction between two different genes"),
    ],
)
def test_ppi_rejects(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as caught:
        read_ppi(write(tmp_path / "p.tsv", text), 700.0)
    assert "\n" not in str(caught.value)


def test_ppi_rejects_missing_directory_binary_and_torn_files(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_ppi(tmp_path / "none.tsv", 700.0)
    with pytest.raises(UserError, match="a directory"):
        read_ppi(tmp_path, 700.0)
    (tmp_path / "b.tsv").write_bytes(b"\xff\xfe\x00\x80" * 50)
    with pytest.raises(UserError, match="not a text file"):
        read_ppi(tmp_path / "b.tsv", 700.0)
    (tmp_path / "torn.tsv.gz").write_bytes(gzip.compress(b"A\tB\t900\n" * 100_000)[:100])
    with pytest.raises(UserError, match="not a"):
        read_ppi(tmp_path / "torn.tsv.gz", 700.0)
    (tmp_path / "text.tsv.gz").write_text("A\tB\t900\n")
    with pytest.raises(UserError, match="not a whole gzip file"):
        read_ppi(tmp_path / "text.tsv.gz", 700.0)


def random_graph(n: int, seed: int) -> PPI:
    """Two blocks with few edges between them, and a pair apart."""
    rng = np.random.default_rng(seed)
    ends = rng.integers(n, size=(12 * n, 2))
    near = (ends[:, 0] < n // 2) == (ends[:, 1] < n // 2)
    ends = ends[(near | (rng.random(len(ends)) < 0.05)) & (ends[:, 0] != ends[:, 1])]
    ends = np.unique(np.sort(ends, axis=1), axis=0)
    return PPI("random", 0.0, tuple(f"g{i}" for i in range(n + 2)), np.concatenate([ends, [[n, n + 1]]]))


def test_spectral_equals_a_dense_eigendecomposition(monkeypatch):
    graph = random_graph(300, 0)
    monkeypatch.setattr(ppi_module, "DENSE_BELOW", 0)  # the Lanczos way, on a graph small enough to check
    embedding = graph.spectral(4, seed=1)
    a = graph.matrix().toarray()[:300, :300].astype(float)
    scale = 1 / np.sqrt(a.sum(axis=1))
    laplacian = np.eye(300) - scale[:, None] * a * scale
    vectors = np.linalg.eigh(laplacian)[1][:, 1:5]
    reference = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    signs = np.sign((reference * embedding.vectors).sum(axis=0))
    np.testing.assert_allclose(embedding.vectors, reference * signs, atol=2e-3)
    monkeypatch.undo()
    assert np.max(subspace_angles(graph.spectral(4, seed=1).vectors, embedding.vectors)) < 2e-3


def test_spectral_keeps_the_largest_component_and_its_rows_have_length_one():
    embedding = random_graph(60, 1).spectral(8, seed=0)
    assert embedding.name == "spectral (stand-in)"
    assert len(embedding.genes) == 60 and "g60" not in embedding.genes
    np.testing.assert_allclose(np.linalg.norm(embedding.vectors, axis=1), 1, rtol=1e-5)
    blocks = np.sign(embedding.vectors[:, 0])  # the first eigenvector tells the blocks apart
    assert max((blocks[:30] != blocks[30:]).mean(), (blocks[:30] == blocks[30:]).mean()) > 0.9


def test_spectral_is_a_function_of_the_seed_and_narrow_on_a_tiny_graph():
    graph = random_graph(600, 2)
    assert np.array_equal(graph.spectral(4, 3).vectors, graph.spectral(4, 3).vectors)
    triangle = PPI("t", 0.0, ("a", "b", "c"), np.array([[0, 1], [0, 2], [1, 2]]))
    assert triangle.spectral(64, 0).vectors.shape == (3, 2)


def test_string_is_read_whole(shared_data):
    graph = read_ppi(shared_data / "string_v12_links_symbol.tsv.gz", 700.0)
    assert len(graph.edges) == 131_520
    embedding = graph.spectral(16, 0)
    assert embedding.vectors.shape == (11_605, 16) and np.isfinite(embedding.vectors).all()
