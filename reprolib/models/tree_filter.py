"""A filter along the minimum spanning tree of a map's pixels (Song et al., NeurIPS 2019), without a compiled extension.

Every pixel becomes the mean of all pixels, weighted with the product of the weights of the tree's edges between them:
near along the tree, not in the plane, so that nothing crosses the edges of objects.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from torch import Tensor


class Tree(NamedTuple):
    """The pixels of a map [h,w], row by row, as a tree in breadth-first order from the first one."""

    order: Tensor  # [P] pixels, by depth
    parents: Tensor  # [P] pixel above each pixel of `order`; the first one's own
    depths: list[int]  # number of pixels of each depth
    places: list[Tensor]  # per depth from 1: for its pixels, their parents' places within the depth above


@torch.no_grad()
def spanning_tree(feature: Tensor) -> Tree:
    """feature [C,h,w] -> the minimum spanning tree of its 4-neighbours; an edge costs the squared difference and 1."""
    height, width = feature.shape[-2:]
    values = feature.float().cpu().numpy().reshape(len(feature), -1)
    index = np.arange(height * width).reshape(height, width)
    first = np.concatenate([index[:, :-1].ravel(), index[:-1].ravel()])
    second = np.concatenate([index[:, 1:].ravel(), index[1:].ravel()])
    cost = np.square(values[:, first] - values[:, second]).sum(0) + 1
    edges = coo_matrix((cost, (first, second)), shape=(index.size, index.size)).tocsr()
    order, above = breadth_first_order(minimum_spanning_tree(edges), 0, directed=False)
    above[0] = 0
    depth, place = np.zeros(index.size, dtype=np.int64), np.zeros(index.size, dtype=np.int64)
    for pixel in order[1:]:  # parents come first
        depth[pixel] = depth[above[pixel]] + 1
    sizes = np.bincount(depth)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    place[order] = np.arange(len(order)) - starts[depth[order]]
    inner = torch.from_numpy(place[above[order]]).to(feature.device)
    return Tree(
        torch.from_numpy(order.astype(np.int64)).to(feature.device),
        torch.from_numpy(above[order].astype(np.int64)).to(feature.device),
        sizes.tolist(),
        list(inner.split(sizes.tolist()))[1:],
    )


def edge_weights(tree: Tree, feature: Tensor, *, sigma: float) -> Tensor:
    """[P] for each pixel of `tree.order` the weight of the edge to its parent: exp(-squared difference / sigma)."""
    flat = feature.float().flatten(1)
    return torch.exp(-(flat[:, tree.order] - flat[:, tree.parents]).square().sum(0) / sigma)


def tree_filter(maps: Tensor, tree: Tree, weights: Tensor) -> Tensor:
    """maps [N,h,w] -> the same, filtered; differentiable in the maps and the weights.

    Two passes: from the leaves every pixel collects what lies below it; from the root it gets what lies elsewhere.
    """
    sums = torch.cat([maps.flatten(1), maps.new_ones((1, maps[0].numel()))])[:, tree.order]
    levels, edges = list(sums.split(tree.depths, dim=1)), weights.split(tree.depths)
    for depth in range(len(levels) - 1, 0, -1):
        levels[depth - 1] = levels[depth - 1].index_add(1, tree.places[depth - 1], edges[depth] * levels[depth])
    found = levels[:1]
    for level, edge, place in zip(levels[1:], edges[1:], tree.places, strict=True):
        found.append((1 - edge.square()) * level + edge * found[-1][:, place])
    filtered = torch.cat(found, dim=1)
    filtered = filtered[:-1] / filtered[-1:]
    return filtered[:, tree.order.argsort()].view_as(maps)
