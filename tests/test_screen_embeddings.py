"""Gene vectors: four file forms give the same embedding, and each mistake has its line."""

from __future__ import annotations

import gzip

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch

from scbig_dist.errors import UserError
from scbig_dist.screen.embeddings import Embedding, random_embedding, read_embedding

GENES = ("TP53", "NAN", "KLF1")
VECTORS = np.arange(12, dtype=np.float32).reshape(3, 4) / 7


def write_forms(folder) -> list[str]:
    np.savez(folder / "a.npz", genes=np.array(GENES), vectors=VECTORS)
    np.savez(folder / "b.npz", genes=np.array(GENES), embeddings=VECTORS.astype(np.float64))
    np.savez(folder / "c.npz", **dict(zip(GENES, VECTORS, strict=True)))
    table = pd.DataFrame(VECTORS, index=GENES)
    table.to_csv(folder / "d.csv")
    table.to_csv(folder / "e.tsv", sep="\t", index_label="gene")
    table.to_csv(folder / "f.csv", header=False)
    (folder / "g.tsv.gz").write_bytes(gzip.compress(table.to_csv(sep="\t", header=False).encode()))
    torch.save({gene: torch.tensor(v) for gene, v in zip(GENES, VECTORS, strict=True)}, folder / "h.pt")
    torch.save({"genes": list(GENES), "vectors": torch.tensor(VECTORS, dtype=torch.bfloat16)}, folder / "i.pt")
    data = ad.AnnData(np.zeros((2, 3), np.float32), var=pd.DataFrame(index=GENES))
    data.varm["esm"] = VECTORS
    data.varm["other"] = VECTORS[:, :2]
    data.write_h5ad(folder / "j.h5ad")
    return ["a.npz", "b.npz", "c.npz", "d.csv", "e.tsv", "f.csv", "g.tsv.gz", "h.pt", "i.pt", "j.h5ad", "j.h5ad:esm"]


def test_every_form_gives_the_same_vectors(tmp_path):
    for name in write_forms(tmp_path):
        embedding = read_embedding(f"{tmp_path}/{name}")
        assert embedding.name == name and embedding.genes == GENES, name
        assert embedding.vectors.dtype == np.float32
        np.testing.assert_allclose(embedding.vectors, VECTORS, rtol=1e-2 if name == "i.pt" else 1e-6)
    assert read_embedding(f"{tmp_path}/j.h5ad:other").vectors.shape == (3, 2)


def test_lookup_gives_zeros_where_there_is_no_vector():
    lookup = Embedding("mine.npz", GENES, VECTORS).lookup(["KLF1", "GATA1", "TP53"])
    np.testing.assert_array_equal(lookup.vectors, [VECTORS[2], np.zeros(4), VECTORS[0]])
    assert lookup.found.tolist() == [True, False, True]
    assert lookup.coverage() == "embedding mine.npz: 2 of 3 genes, width 4"


def test_the_first_of_two_equal_symbols_counts(tmp_path):
    (tmp_path / "t.csv").write_text("g,a\nX,1\nY,2\nX,3\n")
    embedding = read_embedding(tmp_path / "t.csv")
    assert embedding.genes == ("X", "Y") and embedding.vectors.ravel().tolist() == [1, 2]


def test_random_stand_in_says_that_it_is_one():
    embedding = random_embedding(GENES, 8, seed=0)
    assert embedding.name == "random (stand-in)"
    np.testing.assert_allclose(np.linalg.norm(embedding.vectors, axis=1), 1, rtol=1e-5)
    assert np.array_equal(embedding.vectors, random_embedding(GENES, 8, seed=0).vectors)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.txt", "TP53 1 2", r"unknown form '.txt'; choices: .npz, .csv"),
        ("x", "TP53 1 2", r"unknown form 'x'; choices"),
        ("x.csv", "", "the file is empty"),
        ("x.csv", "TP53\nKLF1\n", "one column; expected a symbol and its vector, separated by commas"),
        ("x.csv", "gene,a,b\nTP53,1,two\n", "column 'b' is not numeric"),
        ("x.csv", "gene,a,b\nTP53,1,2\nKLF1,nan,2\n", "1 of 2 vectors are not finite, first 'KLF1'"),
        ("x.csv", "gene,a,b\nTP53,1,inf\n", "1 of 1 vectors are not finite"),
        ("x.csv", "gene,a,b\n", "no vectors in it"),
        ("x.csv", "TP53,1,2\nKLF1,1,2,3,4\n", "not a table"),
        ("x.npz", "TP53", "not an .npz of plain arrays"),
        ("x.pt", "TP53", "not a .pt of plain tensors"),
        ("x.h5ad", "TP53", "not an .h5ad file"),
    ],
)
def test_embedding_rejects_text(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_embedding(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_embedding_rejects_what_is_missing(tmp_path):
    for name in ("x.npz", "x.csv", "x.pt", "x.h5ad", "x.h5ad:key"):
        with pytest.raises(UserError, match=r"no such file; name a file of vectors: \.npz"):
            read_embedding(tmp_path / name)
    (tmp_path / "d.npz").mkdir()
    with pytest.raises(UserError, match="a directory"):
        read_embedding(tmp_path / "d.npz")
    write_forms(tmp_path)
    with pytest.raises(UserError, match="no 'esn' in `varm`; did you mean 'esm'"):
        read_embedding(f"{tmp_path}/j.h5ad:esn")
    ad.AnnData(np.zeros((2, 3), np.float32)).write_h5ad(tmp_path / "bare.h5ad")
    with pytest.raises(UserError, match="`varm` is empty"):
        read_embedding(tmp_path / "bare.h5ad")


def test_embedding_rejects_wrong_arrays(tmp_path):
    cases = {
        "rows": ({"genes": np.array(GENES), "vectors": VECTORS[:2]}, r"3 symbols and vectors of shape \(2, 4\)"),
        "ragged": ({"A": np.zeros(3), "B": np.zeros(4)}, "one vector of equal width per symbol"),
        "matrix": ({"weights": VECTORS}, "expected 'genes' and 'vectors'"),
        "none": ({}, "no vectors in it"),
        "flat": ({"genes": np.array(GENES), "vectors": np.zeros(3)}, r"shape \(3,\)"),
        "words": ({"genes": np.array(GENES), "vectors": np.array([["a"], ["b"], ["c"]])}, "not numbers of one width"),
    }
    for name, (arrays, message) in cases.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
        with pytest.raises(UserError, match=message):
            read_embedding(tmp_path / f"{name}.npz")
    np.savez(tmp_path / "pickled.npz", genes=np.array([object()]))
    with pytest.raises(UserError, match="plain arrays"):
        read_embedding(tmp_path / "pickled.npz")
    np.save(tmp_path / "single.npy", VECTORS)
    (tmp_path / "single.npy").rename(tmp_path / "single.npz")
    with pytest.raises(UserError, match="plain arrays"):
        read_embedding(tmp_path / "single.npz")


class Evil:
    def __reduce__(self):
        return (open, ("evil.txt", "w"))


def test_torch_file_with_code_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"genes": Evil()}, tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"not a .pt of plain tensors"):
        read_embedding(tmp_path / "x.pt")
    assert not (tmp_path / "evil.txt").exists()
    torch.save(torch.zeros(3, 4), tmp_path / "tensor.pt")
    with pytest.raises(UserError, match="holds a Tensor; expected a dict"):
        read_embedding(tmp_path / "tensor.pt")
