"""Gene sets: GMT files and their membership matrix."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from scbig_dist.errors import UserError
from scbig_dist.screen.pathways import pathway_matrix, read_pathways


def test_gmt_plain_and_gzipped(tmp_path):
    text = "P\tdescription\tA\tB\tB\t\nQ\thttp\tC\n\nP\tagain\tD\n"
    (tmp_path / "p.gmt").write_text(text)
    (tmp_path / "p.gmt.gz").write_bytes(gzip.compress(text.encode()))
    expected = {"P": ("A", "B"), "Q": ("C",), "P (2)": ("D",)}
    assert read_pathways(tmp_path / "p.gmt") == expected == read_pathways(tmp_path / "p.gmt.gz")


def test_matrix_keeps_pathways_with_enough_panel_genes():
    pathways = {"big": ("A", "B", "X"), "small": ("C",), "all": ("C", "B", "A")}
    matrix = pathway_matrix(pathways, ["A", "B", "C", "D"], min_genes=2)
    assert matrix.names == ("big", "all")
    assert np.array_equal(matrix.matrix, [[1, 1, 0, 0], [1, 1, 1, 0]]) and matrix.matrix.dtype == np.float32
    assert matrix.coverage() == "pathways: 2 with enough panel genes, 3 of 4 genes in one"
    assert pathway_matrix(pathways, ["A"], 2).matrix.shape == (0, 1)  # a gene is there, but no set is large enough


def test_pathways_reject_a_panel_of_other_genes():
    with pytest.raises(UserError) as error:
        pathway_matrix({"one": ("A", "B"), "two": ("C", "D")}, ["a", "b"], min_genes=1, where="pathways p.gmt")
    assert str(error.value) == (
        "pathways p.gmt: no panel gene ('a', 'b') is in any of the 2 gene sets, which hold 'A', 'B', 'C' and 1 more; "
        "give sets with the store's symbols, or leave them out (priors.pathways=null)"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [("P\tonly\n", "line 1 is not GMT"), ("P\td\tA\nnot gmt at all\n", "line 2 is not GMT"), ("\n", "no gene set")],
)
def test_gmt_rejects(tmp_path, text, message):
    (tmp_path / "p.gmt").write_text(text)
    with pytest.raises(UserError, match=message):
        read_pathways(tmp_path / "p.gmt")


def test_gmt_rejects_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_pathways(tmp_path / "p.gmt")


def test_reactome_is_read_whole(shared_data):
    pathways = read_pathways(shared_data / "reactome_pathways.gmt.gz")
    assert len(pathways) == 2444
    assert len({gene for members in pathways.values() for gene in members}) == 11_201
